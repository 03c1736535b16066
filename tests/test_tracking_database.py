import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from eocontrast import tracking_database
from eocontrast.tracking_database import opened

# MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that 2.1 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database as MLflow makes it."""
    path = tmp_path_factory.mktemp("whole") / "mlflow.db"
    with opened(f"sqlite:///{path}") as client:
        assert client.search_experiments()
    assert [file.name for file in path.parent.glob("*.partial*")] == []
    return path.read_bytes()


def test_nobody_sees_a_database_that_is_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "mlflow.db", []
    link = os.link

    def watched(made: Path, name: Path) -> None:
        seen.append(path.exists())
        link(made, name)
        with closing(sqlite3.connect(name)) as database:
            seen.append(database.execute("SELECT count(*) FROM experiments").fetchone())

    monkeypatch.setattr(os, "link", watched)
    with opened(f"sqlite:///{path}"):
        pass
    assert seen == [False, (1,)]


def test_who_was_faster_is_waited_for(tmp_path: Path, whole: bytes) -> None:
    """Here it has a first table and takes a second more for the rest."""
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE experiments (name VARCHAR)")
    begun = time.monotonic()

    def finish() -> None:
        time.sleep(1)
        (tmp_path / "rest").write_bytes(whole)
        (tmp_path / "rest").replace(path)

    thread = threading.Thread(target=finish)
    thread.start()
    with opened(f"sqlite:///{path}") as client:
        assert time.monotonic() - begun >= 1
        assert [experiment.name for experiment in client.search_experiments()] == ["Default"]
    thread.join()


def test_what_another_program_made_meanwhile_stays(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    make = tracking_database._make

    def late(path: Path) -> None:
        path.write_bytes(whole)
        MlflowClient(tracking_uri=f"sqlite:///{path}").create_experiment("theirs")
        make(path)

    monkeypatch.setattr(tracking_database, "_make", late)
    with opened(f"sqlite:///{path}") as client:
        assert client.get_experiment_by_name("theirs") is not None
    assert not list(tmp_path.glob("*.partial*"))


@pytest.mark.parametrize("hours", [-1, 1])
def test_no_clock_makes_anyone_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr(tracking_database, "_PATIENCE_SECONDS", 0.5)
    path = tmp_path / "mlflow.db"
    path.touch()
    written = time.time() + 3600 * hours
    os.utime(path, (written, written))
    begun = time.monotonic()
    tracking_database._wait_until_whole(path)
    assert time.monotonic() - begun < 5
    assert (time.monotonic() - begun >= 0.5) == (hours > 0)
