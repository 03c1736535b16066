import math
from collections.abc import Mapping
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from eocontrast.backbones import Architecture, Backbone
from eocontrast.modalities import SENSORS
from eocontrast.objectives import DualSimCLR, nt_xent, projection_head
from eocontrast.params import BackboneParams
from eocontrast.patches import PatchStore


def pair(size: int, dim: int = 8) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(size)
    z1, z2 = torch.randn(2, size, dim, generator=draws, dtype=torch.float64)
    return z1, z2


def by_hand(z1: Tensor, z2: Tensor, temperature: float) -> float:
    """Chen et al. 2020, eq. 1, one pair of rows after the other."""
    rows = [row / row.norm() for row in (*z1, *z2)]
    total = 0.0
    for i, row in enumerate(rows):
        partner = (i + len(z1)) % len(rows)
        others = [math.exp(float(row @ rows[k]) / temperature) for k in range(len(rows)) if k != i]
        total -= math.log(math.exp(float(row @ rows[partner]) / temperature) / sum(others))
    return total / len(rows)


@pytest.mark.parametrize("size", [1, 2, 5, 16])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_nt_xent_is_the_double_loop(size: int, temperature: float) -> None:
    z1, z2 = pair(size)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(
        by_hand(z1, z2, temperature), rel=1e-5, abs=1e-5
    )


@pytest.mark.parametrize("size", [2, 7, 50])
def test_one_point_gives_a_guess_among_all_others(size: int) -> None:
    z = torch.ones(size, 4)
    assert nt_xent(z, z, 0.1).item() == pytest.approx(math.log(2 * size - 1), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_orthogonal_places_have_a_closed_form(temperature: float) -> None:
    """Both views agree, places are orthogonal: log(1 + (2N - 2) exp(-1/t))."""
    z = torch.eye(6)
    expected = math.log1p(10 * math.exp(-1 / temperature))
    assert nt_xent(z, z, temperature).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_negatives_of_the_same_sensor_count() -> None:
    """z1 all alike, z2 orthogonal to it and to each other: rows of z1 see N - 1 equals."""
    z1, z2 = torch.eye(9)[:1].expand(4, 9), torch.eye(9)[1:5]
    first = math.log(3 * math.e + 4)
    second = math.log(7)
    assert nt_xent(z1, z2, 1.0).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_scale_and_order_do_not_matter() -> None:
    z1, z2 = pair(12)
    loss = nt_xent(z1, z2, 0.2)
    torch.testing.assert_close(nt_xent(100 * z1, 0.01 * z2, 0.2), loss)
    torch.testing.assert_close(nt_xent(z2, z1, 0.2), loss)
    order = torch.randperm(12)
    torch.testing.assert_close(nt_xent(z1[order], z2[order], 0.2), loss)


def test_matching_pairs_cost_less_than_mixed_ones() -> None:
    z1, _ = pair(12)
    assert nt_xent(z1, z1, 0.2) < nt_xent(z1, z1.roll(1, 0), 0.2) - 1


def test_it_is_float32_inside_autocast() -> None:
    z1, z2 = (z.bfloat16() for z in pair(32))
    exact = nt_xent(z1.float(), z2.float(), 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = nt_xent(z1, z2, 0.05)
    assert inside.dtype == torch.float32
    assert inside.item() == exact.item()


def test_its_gradient_is_the_double_loops() -> None:
    z1, z2 = (z.requires_grad_() for z in pair(3, 2))
    torch.autograd.backward(nt_xent(z1, z2, 0.5))
    assert z1.grad is not None
    for i in range(3):
        for k in range(2):
            up, down = z1.detach().clone(), z1.detach().clone()
            up[i, k] += 1e-5
            down[i, k] -= 1e-5
            slope = (by_hand(up, z2.detach(), 0.5) - by_hand(down, z2.detach(), 0.5)) / 2e-5
            assert z1.grad[i, k].item() == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_a_projection_of_zero_dimensions_is_none() -> None:
    assert isinstance(projection_head(8, 0), nn.Identity)
    assert projection_head(8, 5)(torch.randn(3, 8)).shape == (3, 5)


def dual_simclr(store: PatchStore, params: BackboneParams, projection_dim: int) -> DualSimCLR:
    torch.manual_seed(0)
    architecture = Architecture(params.name, params.options)
    backbones = {
        sensor: Backbone(architecture, {sensor: store.specs[sensor]}) for sensor in SENSORS
    }
    return DualSimCLR(backbones, projection_dim, 0.2)


@pytest.mark.parametrize("projection_dim", [0, 16])
@pytest.mark.parametrize("name", ["resnet", "swin"])
def test_every_parameter_of_dual_simclr_gets_a_gradient(
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
    name: Literal["resnet", "swin"],
    projection_dim: int,
) -> None:
    objective = dual_simclr(tiny_store, tiny_backbones[name], projection_dim)
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


def test_both_sensors_are_embedded_with_their_own_backbone(
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
