"""Work in threads, ahead of who takes what comes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Done = TypeVar("Done")


def ahead(work: Callable[[Item], Done], items: Iterable[Item], threads: int) -> Generator[Done]:
    """What comes of each item, in their order, at most `threads` + 1 of them at a time.

    An error comes in its item's place. When it does, or the generator is closed, no more work is
    begun, and what runs is waited for: nothing uses a file after its owner has closed it.

    Args:
        work: for one item.
        items: taken one by one.
        threads: that work; until the end they share those of torch, evenly.
    """
    waiting: deque[Future[Done]] = deque()
    before = torch.get_num_threads()
    share = max(1, before // threads)
    # also here: who waits for two busy threads has no third
    torch.set_num_threads(share)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(share,))
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
