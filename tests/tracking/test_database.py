import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from eocontrast.runtime.errors import UserError
from eocontrast.tracking import database as tracking_database
from eocontrast.tracking.database import opened


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
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE experiments (name VARCHAR)")
    written = time.time() + 3600 * hours
    os.utime(path, (written, written))
    begun = time.monotonic()
    tracking_database._wait_until_whole(path)
    assert time.monotonic() - begun < 5
    assert (time.monotonic() - begun >= 0.5) == (hours > 0)


def damages(whole: bytes) -> Iterator[bytes]:
    """Truncated, overwritten, or another file."""
    cuts = np.random.default_rng(0).integers(1, len(whole), 20).tolist()
    yield from (whole[:cut] for cut in (5000, len(whole) // 2, *cuts))
    middle = len(whole) // 2
    for filling in (b"\xff", b"\x00"):
        yield whole[: middle - 20_000] + filling * 40_000 + whole[middle + 20_000 :]
    yield from (b"{}", b"[" * 100_000, b"\x00" * 64, b"\xff\xfe\x00", b"x" * 10_000)


# not among the kinds of test_damage.py: SQLite has no checksums, and most flipped bits pass
def test_a_damaged_database_is_named_at_once_with_what_mends_it(
    tmp_path: Path, whole: bytes
) -> None:
    path = tmp_path / "mlflow.db"
    begun = time.monotonic()
    for content in damages(whole):
        path.write_bytes(content)
        with pytest.raises(UserError) as caught, opened(f"sqlite:///{path}"):
            pass
        assert str(path) in str(caught.value)
        assert "move it away" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content
    assert time.monotonic() - begun < 10
    path.rename(tmp_path / "away")
    with opened(f"sqlite:///{path}") as client:
        assert client.search_experiments()


def test_an_empty_file_is_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_database, "_EMPTY_SECONDS", 0.5)
    path = tmp_path / "mlflow.db"
    for age in (60, 0, -3600):
        path.write_bytes(b"")
        written = time.time() - age
        os.utime(path, (written, written))
        begun = time.monotonic()
        tracking_database._remove_empty(path)
        assert not path.exists()
        assert (time.monotonic() - begun < 0.5) == (age == 60)
    path.touch()
    with opened(f"sqlite:///{path}") as client:
        assert client.search_experiments()


def test_a_file_that_another_program_is_about_to_fill_stays(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    thread = threading.Timer(0.5, path.write_bytes, [whole])
    thread.start()
    tracking_database._remove_empty(path)
    thread.join()
    assert path.read_bytes() == whole


def test_what_a_killed_program_had_not_finished_is_taken_back_at_once(
    tmp_path: Path, whole: bytes
) -> None:
    path, journal = tmp_path / "mlflow.db", tmp_path / "mlflow.db-journal"
    path.write_bytes(whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        rows = [(f"killed {number}", "x" * 200) for number in range(2000)]
        database.executemany(
            "INSERT INTO experiments (name, artifact_location) VALUES (?, ?)", rows
        )
        left = path.read_bytes(), journal.read_bytes()
        database.execute("ROLLBACK")
    assert left[0] != whole
    path.write_bytes(left[0])
    journal.write_bytes(left[1])
    begun = time.monotonic()
    tracking_database._wait_until_whole(path)
    assert time.monotonic() - begun < 1
    with opened(f"sqlite:///{path}") as client:
        assert [experiment.name for experiment in client.search_experiments()] == ["Default"]
