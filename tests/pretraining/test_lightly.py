"""The loss that the field uses today, by lightly, which takes seconds to import."""

from pathlib import Path

import pytest
import torch
from processes import together
from torch import Tensor

from eocontrast.pretraining.losses import nt_xent
from eocontrast.training.ranks import rank, ranks

pytestmark = pytest.mark.slow


def both(size: int, temperature: float) -> dict[str, Tensor]:
    """Both losses of this rank's share of a batch, and the gradients of its embeddings."""
    from lightly.loss import NTXentLoss

    draws = torch.Generator().manual_seed(size)
    embeddings = torch.randn(2, size, 16, generator=draws)[:, rank() :: ranks()]
    theirs = NTXentLoss(temperature, gather_distributed=ranks() > 1)
    found: dict[str, Tensor] = {}
    for name, loss_of in (
        ("lightly", theirs),
        ("eocontrast", lambda z1, z2: nt_xent(z1, z2, temperature)),
    ):
        z = embeddings.clone().requires_grad_()
        loss = loss_of(z[0], z[1])
        torch.autograd.backward(loss)
        assert z.grad is not None
        found |= {name: loss.detach(), f"{name} grad": z.grad}
    return found


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("count", [1, 2])
def test_nt_xent_by_lightly(tmp_path: Path, temperature: float, count: int) -> None:
    shares = together(lambda: both(10, temperature), count, tmp_path / "x")
    for share in shares:
        for kind in ("", " grad"):
            ours, theirs = share[f"eocontrast{kind}"], share[f"lightly{kind}"]
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
