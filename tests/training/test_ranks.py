from pathlib import Path

import pytest
import torch
from processes import together
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn

from eocontrast.training.ranks import (
    OWN_STATISTICS,
    gathered,
    rank,
    ranks,
    share_batch_statistics,
    summed,
)


def test_ranks_of_one_process() -> None:
    own = torch.arange(3.0)
    assert (rank(), ranks()) == (0, 1)
    assert gathered(own) is own
    assert torch.equal(summed(own), own)


@pytest.mark.parametrize("count", [2, 3])
def test_rows_of_all_ranks(tmp_path: Path, count: int) -> None:
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


def normalised() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), BatchNormAct2d(3, act_layer=nn.GELU), nn.Flatten()
    )


def test_batch_statistics_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers are those that synchronise, and compute the same otherwise."""
    model, images = normalised().eval(), torch.randn(4, 2, 5, 5)
    expected = model(images)
    monkeypatch.setattr("eocontrast.training.ranks.ranks", lambda: 2)
    converted = share_batch_statistics(model, torch.device("cuda"))
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.modules()) == 2
    torch.testing.assert_close(converted(images), expected)
    assert {id(p) for p in converted.parameters()} == {id(p) for p in model.parameters()}


def test_batch_statistics_on_cpus(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Ranks keep their own statistics, which the first one says once."""
    images = torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(0))

    def shared() -> Tensor:
        torch.manual_seed(0)
        model = share_batch_statistics(normalised(), torch.device("cpu"))
        answer: Tensor = model(images[rank() :: ranks()])
        share_batch_statistics(nn.Linear(2, 2), torch.device("cpu"))  # has nothing to say
        return answer.detach()

    apart = torch.stack(together(shared, 2, tmp_path / "x"), 1).flatten(0, 1)
    assert capfd.readouterr().out.splitlines() == [OWN_STATISTICS]
    torch.manual_seed(0)
    assert (apart - normalised()(images)).abs().max() > 0.01


def test_batch_statistics_of_one_process(capfd: pytest.CaptureFixture[str]) -> None:
    model = normalised()
    assert share_batch_statistics(model, torch.device("cuda")) is model
    assert not any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    assert capfd.readouterr().out == ""
