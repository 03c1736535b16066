"""Models are small, so on a CPU each gets one thread and there are as many at once as cores.

Two at once on two cores are 1.4 (ResNet) to 1.7 (Swin) times as fast as one after the other on
both, and what comes out does not depend on the number of cores.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from eocontrast.runtime.child_processes import end_with, ended_early
from eocontrast.runtime.signals import Stopped, stoppable_worker

Item = TypeVar("Item")
Found = TypeVar("Found")

_inherited: Callable[[Any], Any]
"""What a forked worker does to every item; inherited, so that it may hold a store or features."""


def side_by_side(function: Callable[[Item], Found], items: Sequence[Item]) -> Iterator[Found]:
    """`function` of every item, in order; one after the other on a GPU, and where nothing forks.

    Args:
        function: may hold anything; only items and results travel between processes.
        items: must survive pickling, like the results.

    Raises:
        BrokenProcessPool: a worker was killed; a `multiprocessing.Pool` waits for its result.
    """
    if torch.cuda.is_available() or not sys.platform.startswith("linux"):
        yield from map(function, items)
        return
    workers = min(len(items), len(os.sched_getaffinity(0)))
    if workers < 2:  # none at all where there are no items
        with _one_thread():
            yield from map(function, items)
        return
    # forked, as DataLoader's workers are: importing torch anew would cost each worker 4 s
    fork, given = multiprocessing.get_context("fork"), (function, os.getpid())
    with ProcessPoolExecutor(workers, fork, _start, given) as pool, ended_early():
        # not `map`, which cancels what is left: a pool that is killed then trips over that
        futures = deque(pool.submit(_apply, item) for item in items)
        while futures:
            yield futures.popleft().result()


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _start(function: Callable[[Any], Any], parent: int) -> None:
    global _inherited
    stoppable_worker()
    end_with(parent)
    _inherited = function
    torch.set_num_threads(1)


def _apply(item: object) -> Any:  # noqa: ANN401 - whatever the inherited function returns
    try:
        return _inherited(item)
    except Stopped as stopped:  # with the checkpoint written; nobody asks for an answer
        os._exit(stopped.exit_code)
