"""Work in threads comes in order, and ends when its owner ends it."""

import threading
from contextlib import closing

import pytest
import torch

from eocontrast.mapping.ahead import ahead


def test_what_comes_of_items_keeps_their_order_and_at_most_three_are_there() -> None:
    later, taken = threading.Event(), 0

    def work(item: int) -> tuple[int, int]:
        if item:
            later.set()
        else:
            later.wait(10)  # the first ends after the second
        return item, taken

    for number, (item, taken_before) in enumerate(ahead(work, range(9), 2)):
        assert item == number
        assert item - taken_before <= 2
        taken = number + 1


def test_an_error_comes_in_its_place_and_ends_the_work() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise ValueError("the second is damaged")
        return item

    done = ahead(work, range(50), 2)
    assert next(done) == 0
    with pytest.raises(ValueError, match="the second is damaged"):
        next(done)
    assert max(begun) <= 4


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_when_its_owner_stops_nothing_runs_any_more(error: type[BaseException]) -> None:
    running: set[int] = set()
    slow = threading.Event()

    def work(item: int) -> int:
        running.add(item)
        slow.wait(0.05)
        running.discard(item)
        return item

    def stop() -> None:
        with closing(ahead(work, range(50), 2)) as done:
            next(done)
            raise error

    with pytest.raises(error):
        stop()
    assert not running


def test_threads_share_those_of_torch_until_the_end() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        done = ahead(lambda _: torch.get_num_threads(), range(3), 2)
        assert list(done) == [2, 2, 2]
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
