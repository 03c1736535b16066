"""Prefetching; `test_predict.py` and `test_embed.py` read real windows."""

import threading
from contextlib import closing

import pytest
import torch

from eocontrast.mapping.windows import prefetch


def test_prefetch_keeps_order_and_bound() -> None:
    """At most three results of two threads exist at a time."""
    later, taken = threading.Event(), 0

    def work(item: int) -> tuple[int, int]:
        if item:
            later.set()
        else:
            later.wait(10)  # the first ends after the second
        return item, taken

    for number, (item, taken_before) in enumerate(prefetch(work, range(9), 2)):
        assert item == number
        assert item - taken_before <= 2
        taken = number + 1


def test_prefetch_raises_in_turn() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise ValueError("the second is damaged")
        return item

    results = prefetch(work, range(50), 2)
    assert next(results) == 0
    with pytest.raises(ValueError, match="the second is damaged"):
        next(results)
    assert max(begun) <= 4


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_closed_prefetch_runs_nothing(error: type[BaseException]) -> None:
    running: set[int] = set()
    slow = threading.Event()

    def work(item: int) -> int:
        running.add(item)
        slow.wait(0.05)
        running.discard(item)
        return item

    def stop() -> None:
        with closing(prefetch(work, range(50), 2)) as results:
            next(results)
            raise error

    with pytest.raises(error):
        stop()
    assert not running


def test_prefetch_shares_torch_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert list(prefetch(lambda _: torch.get_num_threads(), range(3), 2)) == [2, 2, 2]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
