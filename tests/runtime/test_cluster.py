from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dask
import pytest
from calls import square
from distributed import Client, Security
from specs import make_arm

from eocontrast.config.finetuning import Recipes
from eocontrast.evaluation.evaluate import Evaluation, evaluate
from eocontrast.finetuning.points import Job
from eocontrast.finetuning.run import train_points
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.parallel import SCHEDULER, parallel_map
from eocontrast.training.devices import accelerator

Cluster = tuple[str, list[subprocess.Popen[bytes]]]

PATIENCE = 120
"""Seconds; other programs may use the cores."""

LIMITS: dict[str, Any] = {
    "seed": 0,
    "test_fraction": 0.3,
    "shard_mib": 0,
    "max_bad_fraction": 0.0,
    "check_shift": False,
}


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def start(*command: str) -> subprocess.Popen[bytes]:
    """Start one of Dask's own programs."""
    quiet = subprocess.DEVNULL
    words = [sys.executable, "-m", "dask", *command]
    return subprocess.Popen(words, stdout=quiet, stderr=quiet, cwd="/")


def address_in(note: Path) -> str:
    """Address of a scheduler, once its note is whole: Dask opens the file, then writes it."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        with suppress(OSError, ValueError):
            return str(json.loads(note.read_text())["address"])
        time.sleep(0.05)
    pytest.fail("the scheduler does not start")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Start a scheduler and two workers elsewhere, one of them with two threads."""
    note = tmp_path / "scheduler.json"
    shared = ("--scheduler-file", str(note), "--host", "127.0.0.1")
    scheduler = start("scheduler", "--port", "0", "--no-dashboard", *shared)
    kinds = [("--nthreads", threads, "--no-nanny", "--no-dashboard") for threads in "12"]
    workers = [start("worker", *shared, *kind) for kind in kinds]
    try:
        address = address_in(note)
        with Client(address) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_lost_worker_changes_no_byte(
    write_source: Callable[..., Path], cluster: Cluster, tmp_path: Path
) -> None:
    raw = write_source(labels=[0, 1, 2] * 100, splits=["train"] * 201 + ["test"] * 99)
    build_store(raw, tmp_path / "here", tmp_path / "here.json", workers=1, **LIMITS)
    address, workers = cluster
    command = (
        "import sys; from pathlib import Path; "
        "from eocontrast.normalisation.build import build_store; "
        f"build_store(*map(Path, sys.argv[1:]), **{LIMITS})"
    )
    there = tmp_path / "there"
    build = subprocess.Popen(
        [sys.executable, "-c", command, str(raw), str(there), str(tmp_path / "there.json")],
        env={**os.environ, SCHEDULER: address},
    )
    while build.poll() is None and len(list(there.parent.glob("there.partial/shards/*.json"))) < 20:
        time.sleep(0.005)
    assert build.poll() is None  # it is in the middle
    workers[0].kill()
    assert build.wait(PATIENCE) == 0
    assert files(there) == files(tmp_path / "here")


@pytest.fixture
def job(
    mixed_folder: Path,
    tiny_inits: Mapping[str, Path],
    tiny_recipes: Recipes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    late = make_arm(init="random", lr=3e-3)
    monkeypatch.chdir(mixed_folder.parent)  # workers run elsewhere
    store = Path(mixed_folder.name)
    return Job(
        "late", store, tiny_inits["random"], late, tiny_recipes, 0.2, 0, "no", tmp_path / "late"
    )


def trained_and_scored(job: Job, out: Path) -> tuple[dict[str, bytes], list[list[Evaluation]]]:
    jobs = [Job(**{**vars(job), "seed": seed, "out": out}) for seed in range(4)]
    points = [[trained.file] for trained in train_points(jobs)]
    store = PatchStore(job.store)
    scores = [place[0] for place in evaluate(points, store, accelerator("no"))]
    for told in out.glob("*.json"):  # times differ
        told.write_text(json.dumps(json.loads(told.read_text())["history"]))
    return files(out), scores


@pytest.mark.slow
def test_points_equal_those_of_one_machine(
    job: Job, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, scores = trained_and_scored(job, tmp_path / "here")
    monkeypatch.setenv(SCHEDULER, cluster[0])
    there, cluster_scores = trained_and_scored(job, tmp_path / "there")
    assert len(here) == 8  # weights, and the metrics of each epoch
    assert there == here
    for one, other in zip(scores, cluster_scores, strict=True):
        assert [e.scores for e in one] == [e.scores for e in other]
        assert all(a.predictions.equals(b.predictions) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
def test_calls_run_on_the_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    address, workers = cluster
    monkeypatch.setenv(SCHEDULER, address)
    processes = set(parallel_map(os.getpid, [()] * 8, 1))
    assert processes <= {worker.pid for worker in workers}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere"])
def test_missing_scheduler_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SCHEDULER, address)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(UserError, match=rf"no Dask scheduler answers at {address} \(.*unset"),
    ):
        list(parallel_map(square, [(1,), (2,)]))
    # one that is left behind may block the next client for ever
    assert "IO loop" not in [thread.name for thread in threading.enumerate()]


def test_scheduler_without_workers_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "scheduler.json"
    shared = ("--scheduler-file", str(note), "--host", "127.0.0.1", "--no-dashboard")
    started = [start("scheduler", "--port", "0", *shared)]
    later = threading.Timer(1, lambda: started.append(start("worker", *shared, "--no-nanny")))
    try:
        address = address_in(note)
        monkeypatch.setenv(SCHEDULER, address)
        later.start()
        results = list(parallel_map(operator.neg, [(1,), (2,)]))
    finally:
        if later.ident:  # it was started
            later.join()
        for process in started:
            process.kill()
            process.wait()
    assert results == [-1, -2]
    assert capsys.readouterr().err == f"{address} has no workers yet: waiting for some\n"


def test_scheduler_behind_tls_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Security.temporary()
    names = ("tls_ca_file", "tls_client_cert", "tls_client_key")
    for name in names:
        (tmp_path / name).write_text(getattr(made, name))
    ca, cert, key = (str(tmp_path / name) for name in names)
    settings = {"ca-file": ca, "client.cert": cert, "client.key": key}
    tls = {f"distributed.comm.tls.{name}": value for name, value in settings.items()}
    note = tmp_path / "scheduler.json"
    options = ("--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key, "--no-dashboard")
    shared = ("--scheduler-file", str(note), "--host", "tls://127.0.0.1", *options)
    started = [start("scheduler", "--port", "0", *shared)]
    try:
        address = address_in(note)
        started.append(start("worker", *shared, "--no-nanny"))
        monkeypatch.setenv(SCHEDULER, address)
        with dask.config.set(tls):
            assert list(parallel_map(operator.neg, [(1,), (2,)])) == [-1, -2]
    finally:
        for process in started:
            process.kill()
            process.wait()
