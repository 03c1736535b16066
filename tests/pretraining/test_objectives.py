from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from processes import together
from runs import DUAL_SIMCLR, SIMCLR
from runs import MMA as MMA_RUN
from torch import Tensor, nn

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.losses import aligned_info_nce, nt_xent
from eocontrast.pretraining.objectives import MMA, DualSimCLR, SimCLR, projection_head
from eocontrast.training.ranks import rank, ranks


def test_projection_of_no_dimensions() -> None:
    assert isinstance(projection_head(8, 0), nn.Identity)
    assert projection_head(8, 5)(torch.randn(3, 8)).shape == (3, 5)


def backbones_of(store: PatchStore, params: BackboneParams) -> dict[Sensor, Backbone]:
    torch.manual_seed(0)
    architecture = Architecture(params.name, params.options)
    return {sensor: Backbone(architecture, {sensor: store.specs[sensor]}) for sensor in SENSORS}


def dual_simclr(store: PatchStore, params: BackboneParams, projection_dim: int) -> DualSimCLR:
    run = DUAL_SIMCLR.model_copy(update={"projection_dim": projection_dim})
    return DualSimCLR(backbones_of(store, params), run)


def simclr(store: PatchStore, params: BackboneParams, projection_dim: int) -> SimCLR:
    run = SIMCLR.model_copy(update={"projection_dim": projection_dim})
    return SimCLR(backbones_of(store, params), run)


def mma(store: PatchStore, params: BackboneParams, projection_dim: int = 0) -> MMA:
    return MMA(backbones_of(store, params), MMA_RUN)


@pytest.mark.parametrize(
    ("new", "name", "projection_dim"),
    [
        (dual_simclr, "resnet", 0),
        (dual_simclr, "resnet", 16),
        (dual_simclr, "swin", 0),
        (dual_simclr, "swin", 16),
        (simclr, "resnet", 0),
        (simclr, "resnet", 16),
        (simclr, "swin", 16),
        (mma, "vgg", 0),
        (mma, "resnet", 0),
        (mma, "swin", 0),
    ],
)
def test_gradients_of_every_parameter(
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
    new: Callable[[PatchStore, BackboneParams, int], nn.Module],
    name: str,
    projection_dim: int,
) -> None:
    objective = new(tiny_store, tiny_backbones[name], projection_dim)
    # ResNet ends its residual branches with a scale of zero: the first step opens them
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.05)
    batch = tiny_store.batch(tiny_store.rows("train"))
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(objective(batch))
        optimizer.step()
    gradients = {n: p.grad for n, p in objective.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all()] == []
    assert [n for n, g in gradients.items() if g is not None and not g.any()] == []


def test_backbones_of_dual_simclr(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    objective = dual_simclr(tiny_store, tiny_backbones["resnet"], 5).eval()
    batch = tiny_store.batch(tiny_store.rows("train"))
    z1, z2 = objective.embed(batch)
    assert z1.shape == z2.shape == (42, 5)
    batch["s2"] = batch["s2"].flip(0)
    again, other = objective.embed(batch)
    assert torch.equal(again, z1)
    assert not torch.equal(other, z2)
    torch.testing.assert_close(objective(batch), nt_xent(again, other, 0.2))


def test_halves_of_simclr(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    objective = simclr(tiny_store, tiny_backbones["resnet"], 5).eval()
    assert list(objective.inputs) == ["s2"]
    views = tiny_store.batch(tiny_store.rows("train"), objective.inputs)
    z1, z2 = objective.embed(views)
    assert z1.shape == z2.shape == (21, 5)
    together = objective.projection(objective.backbone(views))
    torch.testing.assert_close(torch.cat([z1, z2]), together)
    torch.testing.assert_close(objective(views), nt_xent(z1, z2, 0.2))


def test_bands_of_simclr(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    params = tiny_backbones["resnet"]
    spec = tiny_store.specs["s2"].select(["B04", "B03", "B02"])
    backbone = Backbone(Architecture(params.name, params.options), {"s2": spec})
    objective = SimCLR({"s2": backbone}, SIMCLR)
    views = tiny_store.batch(tiny_store.rows("train"), objective.inputs)
    stored = tiny_store.batch(tiny_store.rows("train"))["s2"]
    assert torch.equal(views["s2"].int(), stored[:, [2, 1, 0]].int())
    assert objective(views).isfinite()


@pytest.mark.parametrize("name", ["vgg", "resnet", "swin"])
def test_maps_of_mma(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], name: str
) -> None:
    objective = mma(tiny_store, tiny_backbones[name]).eval()
    batch = tiny_store.batch(tiny_store.rows("train")[:6])
    with torch.no_grad():
        maps1, maps2 = objective.maps(batch)
    assert maps1.shape == maps2.shape
    assert maps1.shape[:2] == (6, 16)
    torch.testing.assert_close(objective(batch), aligned_info_nce(maps1, maps2, 1, 0.2))
    z1, z2 = objective.embed(batch)
    assert z1.shape == z2.shape == (6, 16)
    cells = maps1 / maps1.norm(dim=1, keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(z1, cells.mean((2, 3)))
    assert not torch.equal(z1, z2)


def gradients(objective: nn.Module, batch: Batch) -> dict[str, Tensor]:
    torch.autograd.backward(objective(batch))
    return {n: p.grad for n, p in objective.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("new", "name"), [(dual_simclr, "resnet"), (simclr, "swin"), (simclr, "resnet"), (mma, "vgg")]
)
def test_gradients_of_two_ranks(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
    new: Callable[[PatchStore, BackboneParams, int], nn.Module],
    name: str,
) -> None:
    # eval: in training BatchNorm sees the samples of its own rank alone. float64: processors add in
    # orders of their own
    objective = new(tiny_store, tiny_backbones[name], 16).eval().double()
    rows = tiny_store.rows("train")[:40]
    batch = tiny_store.batch(rows, objective.inputs)  # type: ignore[arg-type]

    def share() -> dict[str, Tensor]:
        own = {sensor: bands[rank() :: ranks()] for sensor, bands in batch.items()}
        return gradients(objective, own)

    parts = together(share, 2, tmp_path / "x")
    whole = gradients(objective, batch)
    assert len(whole) > 10
    for key, expected in whole.items():
        found = (parts[0][key] + parts[1][key]) / 2
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
