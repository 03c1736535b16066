from pathlib import Path

import pytest
import torch
from processes import together
from torch import Tensor

from eocontrast.training.ranks import gathered, rank, ranks, summed


def test_who_is_alone_has_all() -> None:
    own = torch.arange(3.0)
    assert (rank(), ranks()) == (0, 1)
    assert gathered(own) is own
    assert torch.equal(summed(own), own)


@pytest.mark.parametrize("count", [2, 3])
def test_rows_come_in_the_order_of_the_batch_and_gradients_from_every_rank(
    tmp_path: Path, count: int
) -> None:
    batch = torch.arange(24.0).view(12, 2)

    def shared() -> tuple[Tensor, Tensor | None, Tensor]:
        own = batch[rank() :: ranks()].clone().requires_grad_()
        everything = gathered(own)
        # each rank looks at another multiple
        torch.autograd.backward((everything * batch * (rank() + 1)).sum())
        return everything.detach(), own.grad, summed(own)

    total = sum(range(1, count + 1))
    for number, (everything, grad, rows) in enumerate(together(shared, count, tmp_path / "x")):
        assert torch.equal(everything, batch)
        assert torch.equal(grad, total * batch[number::count])
        assert torch.equal(rows, batch.view(-1, count, 2).sum(1))
