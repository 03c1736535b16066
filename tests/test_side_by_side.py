import os
from collections.abc import Callable

import pytest
import torch

from eocontrast.errors import UserError
from eocontrast.side_by_side import side_by_side


@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    offset = 10  # functions may be closures
    found = side_by_side(lambda item: (item + offset, torch.get_num_threads()), range(count))
    assert list(found) == [(item + offset, 1) for item in range(count)]


def test_the_threads_of_the_caller_stay() -> None:
    before = torch.get_num_threads()
    list(side_by_side(torch.tensor, [1.0]))
    assert torch.get_num_threads() == before


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
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
