import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest
import torch
from calls import Unreadable, folder, grow, refuse, refuse_first, square, unreadable

from eocontrast.runtime.errors import UserError, resource_error
from eocontrast.runtime.parallel import parallel_map

TESTS = Path(__file__).parents[1]
PATIENCE = 150
"""Seconds, less than calls sleep; other programs may use the cores."""


def numbers(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_results_keep_the_order(count: int, kind: Literal["processes", "threads"]) -> None:
    results = parallel_map(square, numbers(count), 2, kind)
    assert [result for result, _ in results] == [number**2 for number in range(count)]


@pytest.mark.parametrize(("workers", "here"), [(1, True), (2, False)])
def test_one_worker_stays_in_process(workers: int, here: bool) -> None:
    processes = {process for _, process in parallel_map(square, numbers(4), workers)}
    assert (processes == {os.getpid()}) == here
    assert here or os.getpid() not in processes


def test_share_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages side by side take no more cores than the variable gives each."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert set(parallel_map(os.getpid, [()] * 4)) == {os.getpid()}


def test_growing_worker_stays() -> None:
    """A new one would import torch again."""
    assert len(set(parallel_map(grow, numbers(8), 2))) == 2


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.usefixtures("four_threads")
def test_torch_uses_one_thread(workers: int) -> None:
    def threads(_: int) -> int:
        return torch.get_num_threads()

    assert list(parallel_map(threads, numbers(3), workers)) == [1, 1, 1]
    assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("four_threads")
def test_sums_equal_for_any_workers() -> None:
    def total(seed: int) -> float:
        draws = torch.Generator().manual_seed(seed)
        return float(torch.rand(2**20, generator=draws).sum())

    one, two = (list(parallel_map(total, numbers(4), workers)) for workers in (1, 2))
    assert one == two


def test_workers_follow_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(parallel_map(folder, numbers(2), 2))  # workers are reused
    monkeypatch.chdir(tmp_path)
    assert set(parallel_map(folder, numbers(4), 2)) == {tmp_path}


@pytest.mark.parametrize("workers", [1, 2])
def test_user_error_reaches_the_caller(workers: int) -> None:
    # with two workers, any call may be the first that fails
    with pytest.raises(UserError, match=r"\d is no good"):
        list(parallel_map(refuse, numbers(3), workers))


def test_error_ends_other_calls() -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match="0 is no good"):
        list(parallel_map(refuse_first, numbers(8), 2))
    assert time.monotonic() - start < PATIENCE


def test_results_left_behind_by_an_error_stop_no_later_call() -> None:
    """A traceback keeps them until it is collected, which may be in the midst of the later call."""
    left = parallel_map(square, numbers(8), 2)
    assert next(left)[0] == 0
    later = parallel_map(square, numbers(8), 2)
    assert next(later)[0] == 0
    with pytest.raises(RuntimeError, match="a later call stopped this one after 1 of 8 results"):
        next(left)
    del left
    assert [result for result, _ in later] == [number**2 for number in range(1, 8)]


STAGE = """
import sys, time
import calls
from eocontrast.runtime.parallel import parallel_map
from eocontrast.runtime.stage import stage

with stage("finetune"):
    for result in parallel_map(getattr(calls, sys.argv[1]), [(n,) for n in range(8)], 2):
        print(f"{result}\\n", end="", flush=True)
        time.sleep(200 * (sys.argv[2:] == ["consumer"]))
"""


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a stage with two workers in a process group of its own."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    pipe = subprocess.PIPE
    run = subprocess.Popen(
        [sys.executable, "-c", STAGE, *arguments],
        stdout=pipe,
        stderr=pipe,
        text=True,
        process_group=0,
        env={**os.environ, "PYTHONPATH": path},
    )
    with run:
        try:
            yield run
        finally:
            with suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)


def test_killed_worker_is_reported() -> None:
    with started("die_at_two") as run:
        output, message = run.communicate(timeout=PATIENCE)
    assert run.returncode == 2
    assert message.startswith("finetune: a worker process was killed, perhaps because memory ran")
    assert message.endswith("; `dvc repro` continues from here\n")
    assert message.count("\n") == 1
    assert [int(word) for word in output.split()] in ([], [0], [0, 1])


@pytest.mark.parametrize(
    ("function", "argument"), [(square, Unreadable()), (unreadable, 1)], ids=["call", "result"]
)
def test_unpickle_failure_is_named(function: Callable[..., object], argument: object) -> None:
    with pytest.raises(RuntimeError, match="ImportError: no such module") as caught:
        list(parallel_map(function, [(argument,)] * 2, 2))
    assert resource_error(caught.value) is None
    assert len(list(parallel_map(square, numbers(2), 2))) == 2


class Late(list[tuple[object]]):
    """Calls of which the third comes when the first two have broken the workers."""

    def __iter__(self) -> Iterator[tuple[object]]:
        for number, call in enumerate(super().__iter__()):
            if number == 2:
                time.sleep(3)
            yield call


def test_unpickle_failure_is_named_while_calls_are_handed_out() -> None:
    with pytest.raises(RuntimeError, match="ImportError: no such module"):
        list(parallel_map(square, Late([(Unreadable(),)] * 4), 2))


def workers_at_work(run: subprocess.Popen[str]) -> list[int]:
    assert run.stdout is not None
    lines = [run.stdout.readline() for _ in range(3)]
    assert "0\n" in lines
    return [int(line) for line in lines if line != "0\n"]


def alive(processes: Sequence[int]) -> list[int]:
    return [process for process in processes if Path(f"/proc/{process}/cmdline").exists()]


def all_end(processes: Sequence[int]) -> bool:
    limit = time.monotonic() + PATIENCE
    while alive(processes) and time.monotonic() < limit:
        time.sleep(0.05)
    return not alive(processes)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("send", [os.kill, os.killpg])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("waits", ["caller", "consumer"])
def test_signal_ends_all_workers(
    waits: str, number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    with started("show_and_sleep", waits) as run:
        workers = workers_at_work(run)
        send(run.pid, number)
        _, message = run.communicate(timeout=PATIENCE)
        assert run.returncode == 128 + number
        assert message == f"finetune: stopped by {number.name}; `dvc repro` continues from here\n"
        assert all_end(workers)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_workers_end_with_their_parent() -> None:
    with started("show_and_sleep") as run:
        workers = workers_at_work(run)
        assert alive(workers) == workers
        run.kill()
        run.wait()
        assert all_end(workers)
