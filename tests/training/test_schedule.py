from itertools import pairwise

import pytest
import torch

from eocontrast.training.schedule import cosine_schedule, warmup_cosine


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (7, 3), (50, 0)])
def test_rate_rises_and_falls(steps: int, warmup: int) -> None:
    shares = [warmup_cosine(step, steps, warmup) for step in range(steps)]
    assert max(shares) == shares[warmup] == 1
    rising, falling = shares[: warmup + 1], shares[warmup:]
    assert all(a < b for a, b in pairwise(rising))
    assert all(a > b for a, b in pairwise(falling))
    assert shares[0] > 0
    assert shares[-1] > 0


def test_rate_half_way_down() -> None:
    assert warmup_cosine(55, 100, 10) == pytest.approx(0.5)
    assert warmup_cosine(99, 100, 10) < 0.001


def test_rate_during_warmup() -> None:
    assert [warmup_cosine(step, 10, 3) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_run_of_warmup_alone() -> None:
    assert warmup_cosine(5, 5, 5) == 1


def test_rate_of_the_optimiser() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    scheduler = cosine_schedule(optimizer, 8, 2)
    used = []
    for _ in range(8):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert used == pytest.approx([2 * warmup_cosine(step, 8, 2) for step in range(8)])
