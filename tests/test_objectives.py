import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from eocontrast.backbones import Architecture, Backbone
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.objectives import (
    MMA,
    DualSimCLR,
    SimCLR,
    info_nce,
    max_correlation,
    nt_xent,
    projection_head,
)
from eocontrast.patches import PatchStore
from eocontrast.pretrain_params import BackboneParams


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


def maps(size: int, side: int = 4, dim: int = 3, key: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(key)
    return torch.randn(size, dim, side, side, generator=draws)


def correlation_by_hand(map1: Tensor, map2: Tensor, max_offset: int) -> float:
    """Windsor et al. 2021: one offset after the other, one cell after the other."""
    _, height, width = map1.shape
    best = -math.inf
    for down in range(-max_offset, max_offset + 1):
        for right in range(-max_offset, max_offset + 1):
            total = 0.0
            for y in range(height):
                for x in range(width):
                    if 0 <= y + down < height and 0 <= x + right < width:
                        one, other = map1[:, y + down, x + right], map2[:, y, x]
                        total += float(one @ other) / max(float(one.norm() * other.norm()), 1e-12)
            best = max(best, total / (height * width))
    return best


@pytest.mark.parametrize("side", [1, 3, 4])
@pytest.mark.parametrize("max_offset", [0, 1, 2, 5])
def test_the_best_correlation_is_the_loop_over_pairs_and_offsets(
    side: int, max_offset: int
) -> None:
    maps1, maps2 = maps(3, side, key=1), maps(2, side, key=2)
    found = max_correlation(maps1, maps2, max_offset)
    expected = [[correlation_by_hand(a, b, max_offset) for b in maps2] for a in maps1]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (2, 2), (-2, 1)])
def test_a_shift_within_the_offsets_changes_nothing(shift: tuple[int, int]) -> None:
    """Of what has a border of zeros to be shifted into; a map finds itself, 16 cells of 64."""
    maps1, maps2 = (torch.nn.functional.pad(maps(4, key=key), (2, 2, 2, 2)) for key in (1, 2))
    itself = max_correlation(maps1, maps1.roll(shift, (2, 3)), max_offset=2).diagonal()
    torch.testing.assert_close(itself, torch.full((4,), 16 / 64))
    # offsets of all four cells of content, and of the shift on top
    plain = max_correlation(maps1, maps2, max_offset=4)
    moved = max_correlation(maps1, maps2.roll(shift, (2, 3)), max_offset=6)
    torch.testing.assert_close(moved, plain)


def test_an_offset_that_is_too_large_is_not_found() -> None:
    one = torch.nn.functional.pad(maps(3), (3, 3, 3, 3))
    near, far = (max_correlation(one, one.roll(step, 3), 1).diagonal() for step in (1, 3))
    assert (far < 0.8 * near).all()


def test_a_map_agrees_with_itself_best() -> None:
    same = max_correlation(maps(5), maps(5), 1)
    torch.testing.assert_close(same.diagonal(), torch.ones(5))
    assert (same.argmax(1) == torch.arange(5)).all()
    assert same.abs().max() <= 1 + 1e-6


def test_correlation_knows_neither_scale_nor_order() -> None:
    maps1, maps2 = maps(4, key=1), maps(3, key=2)
    found = max_correlation(maps1, maps2, 2)
    torch.testing.assert_close(max_correlation(100 * maps1, 0.01 * maps2, 2), found)
    torch.testing.assert_close(max_correlation(maps2, maps1, 2), found.T)


def test_an_empty_map_agrees_with_nothing() -> None:
    nothing = torch.zeros(2, 3, 4, 4, requires_grad=True)
    found = max_correlation(nothing, maps(2), 1)
    assert torch.equal(found, torch.zeros(2, 2))
    torch.autograd.backward(found.sum())
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()


def test_correlation_is_float32_inside_autocast() -> None:
    maps1, maps2 = maps(4, key=1).bfloat16(), maps(4, key=2).bfloat16()
    exact = max_correlation(maps1.float(), maps2.float(), 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = max_correlation(maps1, maps2, 1)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, exact)


@pytest.mark.parametrize("temperature", [0.005, 0.1, 1.0])
def test_info_nce_is_the_double_loop(temperature: float) -> None:
    similarities = torch.rand(5, 5, generator=torch.Generator().manual_seed(0)).double()
    total = 0.0
    for table in (similarities.tolist(), similarities.T.tolist()):
        for place, row in enumerate(table):
            total -= math.log(
                math.exp(row[place] / temperature) / sum(math.exp(s / temperature) for s in row)
            )
    assert info_nce(similarities, temperature).item() == pytest.approx(total / 10)
    assert info_nce(torch.zeros(7, 7), temperature).item() == pytest.approx(math.log(7))


def backbones_of(store: PatchStore, params: BackboneParams) -> dict[Sensor, Backbone]:
    torch.manual_seed(0)
    architecture = Architecture(params.name, params.options)
    return {sensor: Backbone(architecture, {sensor: store.specs[sensor]}) for sensor in SENSORS}


def dual_simclr(store: PatchStore, params: BackboneParams, projection_dim: int) -> DualSimCLR:
    return DualSimCLR(backbones_of(store, params), projection_dim, 0.2)


def simclr(store: PatchStore, params: BackboneParams, projection_dim: int) -> SimCLR:
    return SimCLR("s2", backbones_of(store, params)["s2"], projection_dim, 0.2)


def mma(store: PatchStore, params: BackboneParams, projection_dim: int = 0) -> MMA:
    return MMA(backbones_of(store, params), 0.1, max_offset=1)


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
def test_every_parameter_gets_a_gradient(
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


def test_simclr_contrasts_the_halves_of_a_batch_of_one_sensor(
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


def test_simclr_of_some_bands_sees_those_alone(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    params = tiny_backbones["resnet"]
    spec = tiny_store.specs["s2"].select(["B04", "B03", "B02"])
    backbone = Backbone(Architecture(params.name, params.options), {"s2": spec})
    objective = SimCLR("s2", backbone, 5, 0.2)
    views = tiny_store.batch(tiny_store.rows("train"), objective.inputs)
    stored = tiny_store.batch(tiny_store.rows("train"))["s2"]
    assert torch.equal(views["s2"].int(), stored[:, [2, 1, 0]].int())
    assert objective(views).isfinite()


@pytest.mark.parametrize("name", ["vgg", "resnet", "swin"])
def test_mma_contrasts_the_coarsest_maps(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], name: str
) -> None:
    objective = mma(tiny_store, tiny_backbones[name]).eval()
    batch = tiny_store.batch(tiny_store.rows("train")[:6])
    with torch.no_grad():
        maps1, maps2 = objective.maps(batch)
    assert maps1.shape == maps2.shape
    assert maps1.shape[:2] == (6, 16)
    table = [[correlation_by_hand(one, other, 1) for other in maps2] for one in maps1]
    torch.testing.assert_close(
        objective(batch), info_nce(torch.tensor(table), 0.1), rtol=1e-4, atol=1e-4
    )
    z1, z2 = objective.embed(batch)
    assert z1.shape == z2.shape == (6, 16)
    cells = maps1 / maps1.norm(dim=1, keepdim=True).clamp_min(1e-12)
    torch.testing.assert_close(z1, cells.mean((2, 3)))
    assert not torch.equal(z1, z2)
