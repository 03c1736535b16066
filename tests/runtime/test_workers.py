from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster
from spreading import die, kept, refuse, square

from eocontrast.runtime.stage import stage
from eocontrast.normalisation.build import build_store
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.workers import spread

LIMITS: dict[str, Any] = {
    "seed": 0,
    "test_fraction": 0.3,
    "shard_mib": 0,
    "max_bad_fraction": 0.0,
    "check_shift": False,
}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(("workers", "here"), [(1, True), (2, False)])
def test_every_call_is_made_once(workers: int, here: bool) -> None:
    found = list(spread(square, [(number,) for number in range(5)], workers))
    assert sorted(number for number, _ in found) == [0, 1, 4, 9, 16]
    assert all((process == os.getpid()) == here for _, process in found)


def test_workers_keep_the_memory_of_a_raster_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for which in ("TRIM", "MMAP"):
        monkeypatch.delenv(f"MALLOC_{which}_THRESHOLD_", raising=False)
    assert all(size >= 2**23 for size in spread(kept, [("TRIM",), ("MMAP",)], 2))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_users_mistake_reaches_the_caller(workers: int) -> None:
    with pytest.raises(UserError, match="is no good"):
        list(spread(refuse, [(1,), (2,)], workers))


def test_a_call_that_every_worker_dies_of_is_told_in_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    once = {"distributed.scheduler.allowed-failures": 0}
    with dask.config.set(once), pytest.raises(SystemExit) as caught, stage("normalise"):
        list(spread(die, [(1,), (2,)], 2))
    said = capfd.readouterr().err
    assert (caught.value.code, said.count("\n")) == (2, 1), said
    assert said.startswith("normalise: a worker process was killed, perhaps for memory: ")


def start(*command: str) -> subprocess.Popen[bytes]:
    """One of Dask's own programs, quietly."""
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *command], stdout=nowhere, stderr=nowhere
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Address of a scheduler with two workers, each a process of its own."""
    note = tmp_path / "scheduler.json"
    shared = ("--scheduler-file", str(note))
    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *shared)
    one = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
    workers = [start("worker", *shared, *one) for _ in range(2)]
    try:
        deadline = time.monotonic() + 60
        while not note.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with Client(scheduler_file=str(note)) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(
    write_source: Callable[..., Path],
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
    tmp_path: Path,
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
        env={**os.environ, "DASK_SCHEDULER_ADDRESS": address},
    )
    while build.poll() is None and len(list(there.parent.glob("there.partial/shards/*.json"))) < 20:
        time.sleep(0.005)
    assert build.poll() is None  # it is in the middle
    workers[0].kill()
    assert build.wait(120) == 0
    assert files(there) == files(tmp_path / "here")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere"])
def test_an_address_where_no_scheduler_answers_is_told(address: str) -> None:
    quick = {"scheduler-address": address, "distributed.comm.timeouts.connect": "1s"}
    with (
        dask.config.set(quick),
        pytest.raises(UserError, match=rf"no Dask scheduler answers at {address} \(.*unset it"),
    ):
        list(spread(square, [(1,), (2,)]))


def test_a_scheduler_without_workers_is_said_to_be_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nobody = LocalCluster(n_workers=0, processes=False, dashboard_address=None)
    with nobody as cluster, dask.config.set({"scheduler-address": cluster.scheduler_address}):
        later = threading.Timer(0.5, cluster.scale, (1,))
        later.start()
        found = list(spread(square, [(1,), (2,)]))
        later.join()
    assert sorted(number for number, _ in found) == [1, 4]
    said = capsys.readouterr().err
    assert said == f"{cluster.scheduler_address} has no workers yet: waiting for some\n"


def test_the_address_is_that_of_dasks_configuration(
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    address, workers = cluster
    with dask.config.set({"scheduler-address": address}):
        found = set(spread(os.getpid, [()] * 8))
    assert found <= {worker.pid for worker in workers}
