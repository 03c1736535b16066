"""Wrong addresses, servers that go away, projects that move, and pages that open early."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from servers import HttpServer, reserved_port

from eocontrast.runtime.errors import UserError
from eocontrast.tracking import missed
from eocontrast.tracking.store import EXPERIMENT, open_store
from eocontrast.tracking.tracker import Tracker


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the project, without settings of MLflow."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(missed, "_gone", [])
    monkeypatch.setattr(missed, "_unlogged", {})
    return folder


# --- addresses


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "./runs", "htp://host", "ftp://a"])
def test_address_of_no_store(project: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"expected a server .* or a database") as caught:
        Tracker("download")
    assert uri in str(caught.value)
    assert "\n" not in str(caught.value)


def test_silent_server_is_reported_soon(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reserved_port() as port:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
        began = time.monotonic()
        with pytest.raises(UserError, match=r"not answer at http://127\.0\.0\.1") as caught:
            Tracker("download")
    assert time.monotonic() - began < 10
    assert "\n" not in str(caught.value)


def test_other_server_is_no_mlflow(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = HttpServer({"/index.html": b"hello"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    try:
        with pytest.raises(UserError, match="MLflow does not answer at"):
            Tracker("download")
    finally:
        server.stop()


def test_file_that_is_no_database(project: Path) -> None:
    (project / "mlflow.db").write_text("something else")
    began = time.monotonic()
    with pytest.raises(UserError, match=r"MLflow does not answer at sqlite:.*not a database"):
        Tracker("download")
    assert time.monotonic() - began < 10


# --- projects that move


def log_figure(name: str) -> str:
    figure = Path(f"{name}.png")
    figure.write_bytes(b"png")
    with Tracker("evaluate").start(name, {"a": 1}) as run:
        run.file(figure)
        run.text("card.md", "text")
    return run.run_id


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_moved_project_logs_into_itself(
    project: Path, monkeypatch: pytest.MonkeyPatch, move: Callable[[Path, Path], object]
) -> None:
    first = log_figure("first")
    before = sorted(path for path in (project / "mlartifacts").rglob("*.png"))
    there = project.with_name("elsewhere")
    monkeypatch.chdir(project.parent)
    move(project, there)
    monkeypatch.chdir(there)
    client = MlflowClient(tracking_uri=f"sqlite:///{there / 'mlflow.db'}")
    assert [file.path for file in client.list_artifacts(first)] == ["card.md", "first.png"]
    second = log_figure("second")
    assert [file.path for file in client.list_artifacts(second)] == ["card.md", "second.png"]
    assert len(list((there / "mlartifacts").rglob("*.png"))) == 2
    assert [path for path in before if path.exists()] == (before if project.exists() else [])
    assert not list(project.rglob("second.png"))


def test_records_of_older_versions_become_relative(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = log_figure("first")
    with sqlite3.connect("mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            old = f"UPDATE {table} SET {column} = 'file:///old%20place/' || {column}"
            database.execute(f"{old} WHERE {column} LIKE 'mlartifacts%'")
    database.close()
    client, experiment = open_store()
    assert experiment.artifact_location == "mlartifacts"
    assert [file.path for file in client.list_artifacts(run_id)] == ["card.md", "first.png"]
    assert "made in /old%20place: they now name files here" in capsys.readouterr().out


# --- MLflow's own page


CREATE = """
import sys
from mlflow import MlflowClient
MlflowClient(tracking_uri=sys.argv[1]).search_experiments()
"""


@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_page_that_opens_first(project: Path, delay: float) -> None:
    """`mlflow ui` creates the tables without a lock; neither may fail."""
    uri = f"sqlite:///{project / 'mlflow.db'}"
    other = subprocess.Popen([sys.executable, "-c", CREATE, uri], stderr=subprocess.PIPE, text=True)
    while not (project / "mlflow.db").exists() and other.poll() is None:
        time.sleep(0.01)
    time.sleep(delay)
    client, _ = open_store()
    complaint = other.communicate()[1]
    assert other.returncode == 0, complaint
    assert client.get_experiment_by_name(EXPERIMENT) is not None


# --- servers


@pytest.fixture
def server(project: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts MLflow's server on one address, again and again."""
    started = list[subprocess.Popen[bytes]]()
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{project / 'server.db'}"]
    words += ["--artifacts-destination", str(project / "served")]
    plain = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def start() -> subprocess.Popen[bytes]:
        with (project / "server.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
        started.append(process)
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            # its first answer takes longest, which is more than a stage waits on a busy machine
            with suppress(OSError):
                plain.open(f"{address}/api/2.0/mlflow/experiments/search?max_results=1").close()
                break
            time.sleep(0.2)
        return process

    with pytest.MonkeyPatch.context() as patch, reserved_port() as port:
        address = f"http://127.0.0.1:{port}"
        words += ["--port", str(port)]
        patch.setenv("MLFLOW_TRACKING_URI", address)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        patch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
        patch.setenv("no_proxy", "127.0.0.1")
        yield start
    for process in started:
        process.terminate()
        process.wait(30)


@pytest.mark.slow  # MLflow's server takes seconds to start, twice
def test_server_that_goes_away(
    server: Callable[[], subprocess.Popen[bytes]],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process = server()
    tracker = Tracker("pretrain")
    figure = project / "a.png"
    figure.write_bytes(b"png")
    with tracker.stage_run("pretrain@x", {"lr": 0.1}) as run:
        run.log({"loss": 3.0}, step=1)
        process.terminate()
        process.wait(30)
        run.log({"loss": 2.0}, step=2)
        run.file(figure)
    with tracker.start("point", {"arm": "dual"}) as other:
        other.log({"score": 0.5})
    figure.unlink()
    missed._report()
    said = capsys.readouterr().err
    assert "does not answer any more" in said
    assert "pretrain@x (loss, a.png, seconds, its end); point (score, its end)" in said
    assert len(list((project / "checkpoints/unlogged").glob("*.json"))) == 2

    server()
    monkeypatch.setattr(missed, "_gone", [])
    client = Tracker("finetune").client
    rows = {row.info.run_name: row for row in client.search_runs([tracker.experiment_id])}
    assert set(rows) == {"pretrain@x", "point"}
    losses = client.get_metric_history(run.run_id, "loss")
    assert [(m.step, m.value) for m in losses] == [(1, 3.0), (2, 2.0)]
    assert [file.path for file in client.list_artifacts(run.run_id)] == ["a.png"]
    assert rows["point"].data.metrics == {"score": 0.5}
    assert rows["point"].data.params == {"arm": "dual"}
    assert {row.info.status for row in rows.values()} == {"FINISHED"}
    assert not (project / "checkpoints/unlogged").exists()
