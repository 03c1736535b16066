import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.parallel import side_by_side

TWO_CORES = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")


@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    offset = 10  # functions may be closures
    found = side_by_side(lambda item: (item + offset, torch.get_num_threads()), range(count))
    assert list(found) == [(item + offset, 1) for item in range(count)]


def test_the_threads_of_the_caller_stay() -> None:
    before = torch.get_num_threads()
    list(side_by_side(torch.tensor, [1.0]))
    assert torch.get_num_threads() == before


@TWO_CORES
def test_several_items_are_worked_on_at_once() -> None:
    found = set(side_by_side(lambda item: os.getpid(), range(8)))
    assert os.getpid() not in found


@pytest.mark.parametrize("count", [1, 3])
def test_a_users_mistake_reaches_the_caller(count: int) -> None:
    def refuse(item: int) -> None:
        raise UserError(f"no {item}")

    with pytest.raises(UserError, match="no 0"):
        list(side_by_side(refuse, range(count)))


def test_functions_that_hold_what_cannot_be_pickled_work() -> None:
    kept: Callable[[int], int] = lambda item: item + 1  # noqa: E731
    assert list(side_by_side(lambda item: kept(item), range(3))) == [1, 2, 3]


KILLED = """
import os, signal, sys, time
from eocontrast.runtime.parallel import side_by_side
from eocontrast.runtime.stage import stage

def work(item):
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item

with stage("finetune"):
    for item in side_by_side(work, range(8)):
        print(f"{item}\\n", end="", flush=True)  # one write: another worker prints too
"""

WAITING = """
import os, sys, time
from eocontrast.runtime.parallel import side_by_side
from eocontrast.runtime.stage import stage

def work(item):
    if item:
        print(os.getpid(), flush=True)
        time.sleep(60)
    return item

with stage("finetune"):
    for item in side_by_side(work, range(8)):
        time.sleep(60 * (sys.argv[1] == "consumer"))
"""


@TWO_CORES
def test_a_worker_that_is_killed_is_told_in_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("finetune: a worker process was killed, perhaps for memory: ")
    assert done.stderr.endswith("; `dvc repro` goes on from here\n")
    assert done.stderr.count("\n") == 1
    assert [int(item) for item in done.stdout.split()] in ([], [0], [0, 1])  # in order


@TWO_CORES
@pytest.mark.parametrize(
    ("number", "at_work"), [(signal.SIGINT, "workers"), (signal.SIGTERM, "consumer")]
)
def test_workers_end_at_once_where_the_run_is_stopped(at_work: str, number: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITING, at_work]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        time.sleep(0.2)  # until the first result has come
        run.send_signal(number)
        _, said = run.communicate(timeout=20)
    assert run.returncode == 128 + number
    assert said == f"finetune: stopped by {number.name}; `dvc repro` goes on from here\n"
    assert not Path(f"/proc/{worker}").exists()


CHECKPOINTING = """
import os, sys, time
from pathlib import Path
from eocontrast.runtime.parallel import side_by_side
from eocontrast.runtime.stage import stage
from eocontrast.runtime.signals import asked_to_stop, deferred, stop_if_asked

def work(item):
    with deferred():
        print(f"{item}\\n", end="", flush=True)  # one write: another worker prints too
        while not asked_to_stop():
            time.sleep(0.01)
        time.sleep(float(sys.argv[2]))
        Path(sys.argv[1], str(item)).touch()
        stop_if_asked()

os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # two workers
with stage("finetune"):
    list(side_by_side(work, range(8)))
"""


def at_work(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """A run in a process group of its own, whose two workers take so long to checkpoint."""
    command = [sys.executable, "-c", CHECKPOINTING, str(folder), str(seconds)]
    pipe = subprocess.PIPE
    run = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, process_group=0)
    assert run.stdout is not None
    assert {run.stdout.readline() for _ in range(2)} == {"0\n", "1\n"}
    return run


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGTERM, os.kill), (signal.SIGTERM, os.killpg), (signal.SIGINT, os.killpg)],
)
def test_workers_checkpoint_where_the_run_is_stopped(
    tmp_path: Path, number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    """Told by the stage, or by a terminal or SLURM as well, which tell all processes."""
    with at_work(tmp_path, 0.5) as run:
        send(run.pid, number)
        _, said = run.communicate(timeout=20)
    assert run.returncode == 128 + number
    assert said == f"finetune: stopped by {number.name}; `dvc repro` goes on from here\n"
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
def test_who_asks_twice_does_not_wait_for_workers(tmp_path: Path) -> None:
    with at_work(tmp_path, 60) as run:
        for _ in range(2):
            run.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        _, said = run.communicate(timeout=20)
    assert run.returncode == 128 + signal.SIGTERM
    assert said == "finetune: stopped by SIGTERM; `dvc repro` goes on from here\n"
    assert not list(tmp_path.iterdir())


@TWO_CORES
def test_workers_end_at_once_after_a_mistake() -> None:
    def work(item: int) -> None:
        if item == 0:
            raise UserError("no")
        time.sleep(60)

    began = time.monotonic()
    with pytest.raises(UserError, match="no"):
        list(side_by_side(work, range(8)))
    assert time.monotonic() - began < 20
