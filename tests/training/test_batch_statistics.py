from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import together
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from eocontrast.training.batch_statistics import batch_of_all_ranks
from eocontrast.training.ranks import rank, ranks

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.BatchNorm2d(3),
    "timm": lambda: BatchNormAct2d(3, act_layer=nn.GELU),
    "no weights": lambda: nn.BatchNorm2d(3, affine=False),
    "no running": lambda: nn.BatchNorm2d(3, track_running_stats=False),
    "vectors": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)),
}


def passed(layer: nn.Module, images: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Output, gradients and state after two steps of training and one without."""
    own = images.clone().requires_grad_()
    with batch_of_all_ranks():
        for _ in range(2):
            answer = layer(own)
        torch.autograd.backward((answer.flatten(1) * weights).sum())
        evaluated = layer.eval()(own)
    grads = {f"grad {name}": p.grad for name, p in layer.named_parameters() if p.grad is not None}
    assert own.grad is not None
    return {"answer": answer.detach(), "grad": own.grad, "evaluated": evaluated.detach(),
            **grads, **layer.state_dict()}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_two_ranks_are_one_batch(tmp_path: Path, name: str) -> None:
    draws = torch.Generator().manual_seed(0)
    images = 5 + 2 * torch.randn(6, 3, 2, 2, generator=draws)
    weights = torch.randn(6, 12, generator=draws)
    torch.manual_seed(0)
    layer = LAYERS[name]()

    def share() -> dict[str, Tensor]:
        return passed(layer, images[rank() :: ranks()], weights[rank() :: ranks()])

    parts = together(share, 2, tmp_path / "x")
    whole = passed(layer, images, weights)
    for key, expected in whole.items():
        found = [part[key] for part in parts]
        if key in ("answer", "grad", "evaluated"):
            together_ = torch.stack(found, 1).flatten(0, 1)
            torch.testing.assert_close(together_, expected, rtol=1e-5, atol=1e-5)
        elif key.startswith("grad "):
            torch.testing.assert_close(sum(found), expected, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(found[0], found[1])
            torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-6)


def test_the_batches_of_ranks_differ_without_it(tmp_path: Path) -> None:
    images = torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0))

    def alone() -> Tensor:
        normalised: Tensor = nn.BatchNorm2d(3)(images[rank() :: ranks()])
        return normalised.detach()

    apart = torch.stack(together(alone, 2, tmp_path / "x"), 1).flatten(0, 1)
    assert (apart - nn.BatchNorm2d(3)(images)).abs().max() > 0.1
