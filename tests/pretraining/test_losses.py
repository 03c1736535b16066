import math
import weakref
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from processes import together
from torch import Tensor

from eocontrast.pretraining import losses
from eocontrast.pretraining.losses import aligned_info_nce, max_correlation, nt_xent, unit_cells
from eocontrast.training.ranks import rank, ranks


def pair(size: int, dim: int = 8) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(size)
    z1, z2 = torch.randn(2, size, dim, generator=draws, dtype=torch.float64)
    return z1, z2


def by_hand(z1: Tensor, z2: Tensor, temperature: float, groups: list[int] | None = None) -> float:
    """Chen et al. 2020, eq. 1, one pair of rows after the other; others of a group do not count."""
    names = 2 * (groups or list(range(len(z1))))
    rows = [row / row.norm() for row in (*z1, *z2)]
    total = 0.0
    for i, row in enumerate(rows):
        partner = (i + len(z1)) % len(rows)
        seen = [k for k in range(len(rows)) if k == partner or names[k] != names[i]]
        others = [math.exp(float(row @ rows[k]) / temperature) for k in seen]
        total -= math.log(math.exp(float(row @ rows[partner]) / temperature) / sum(others))
    return total / len(rows)


@pytest.mark.parametrize("size", [1, 2, 5, 16])
@pytest.mark.parametrize("temperature", [0.07, 0.5, 2.0])
def test_nt_xent_by_hand(size: int, temperature: float) -> None:
    z1, z2 = pair(size)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(
        by_hand(z1, z2, temperature), rel=1e-5, abs=1e-5
    )


@pytest.mark.parametrize("size", [2, 7, 50])
def test_nt_xent_of_one_point(size: int) -> None:
    z = torch.ones(size, 4)
    assert nt_xent(z, z, 0.1).item() == pytest.approx(math.log(2 * size - 1), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_of_orthogonal_places(temperature: float) -> None:
    """Both views agree, places are orthogonal: log(1 + (2N - 2) exp(-1/t))."""
    z = torch.eye(6)
    expected = math.log1p(10 * math.exp(-1 / temperature))
    assert nt_xent(z, z, temperature).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_negatives_of_one_sensor() -> None:
    """z1 all alike, z2 orthogonal to it and to each other: rows of z1 see N - 1 equals."""
    z1, z2 = torch.eye(9)[:1].expand(4, 9), torch.eye(9)[1:5]
    first = math.log(3 * math.e + 4)
    second = math.log(7)
    assert nt_xent(z1, z2, 1.0).item() == pytest.approx((first + second) / 2, rel=1e-5)


def test_nt_xent_by_scale() -> None:
    z1, z2 = pair(12)
    loss = nt_xent(z1, z2, 0.2)
    torch.testing.assert_close(nt_xent(100 * z1, 0.01 * z2, 0.2), loss)
    torch.testing.assert_close(nt_xent(z2, z1, 0.2), loss)
    order = torch.randperm(12)
    torch.testing.assert_close(nt_xent(z1[order], z2[order], 0.2), loss)


def test_nt_xent_of_mixed_pairs() -> None:
    z1, _ = pair(12)
    assert nt_xent(z1, z1, 0.2) < nt_xent(z1, z1.roll(1, 0), 0.2) - 1


def test_nt_xent_inside_autocast() -> None:
    z1, z2 = (z.bfloat16() for z in pair(32))
    exact = nt_xent(z1.float(), z2.float(), 0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = nt_xent(z1, z2, 0.05)
    assert inside.dtype == torch.float32
    assert inside.item() == exact.item()


def test_gradient_by_hand() -> None:
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


def correlation(maps1: Tensor, maps2: Tensor, max_offset: int) -> Tensor:
    return max_correlation(unit_cells(maps1), unit_cells(maps2), max_offset)


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
def test_correlation_by_hand(side: int, max_offset: int) -> None:
    maps1, maps2 = maps(3, side, key=1), maps(2, side, key=2)
    found = correlation(maps1, maps2, max_offset)
    expected = [[correlation_by_hand(a, b, max_offset) for b in maps2] for a in maps1]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (2, 2), (-2, 1)])
def test_correlation_of_shifted_maps(shift: tuple[int, int]) -> None:
    """Of what has a border of zeros to be shifted into; a map finds itself, 16 cells of 64."""
    maps1, maps2 = (F.pad(maps(4, key=key), (2, 2, 2, 2)) for key in (1, 2))
    itself = correlation(maps1, maps1.roll(shift, (2, 3)), max_offset=2).diagonal()
    torch.testing.assert_close(itself, torch.full((4,), 16 / 64))
    # offsets of all four cells of content, and of the shift on top
    plain = correlation(maps1, maps2, max_offset=4)
    moved = correlation(maps1, maps2.roll(shift, (2, 3)), max_offset=6)
    torch.testing.assert_close(moved, plain)


def test_correlation_beyond_max_offset() -> None:
    one = F.pad(maps(3), (3, 3, 3, 3))
    near, far = (correlation(one, one.roll(step, 3), 1).diagonal() for step in (1, 3))
    assert (far < 0.8 * near).all()


def test_correlation_with_itself() -> None:
    same = correlation(maps(5), maps(5), 1)
    torch.testing.assert_close(same.diagonal(), torch.ones(5))
    assert (same.argmax(1) == torch.arange(5)).all()
    assert same.abs().max() <= 1 + 1e-6


def test_correlation_by_scale() -> None:
    maps1, maps2 = maps(4, key=1), maps(3, key=2)
    found = correlation(maps1, maps2, 2)
    torch.testing.assert_close(correlation(100 * maps1, 0.01 * maps2, 2), found)
    torch.testing.assert_close(correlation(maps2, maps1, 2), found.T)


def test_correlation_of_empty_maps() -> None:
    nothing = torch.zeros(2, 3, 4, 4, requires_grad=True)
    found = correlation(nothing, maps(2), 1)
    assert torch.equal(found, torch.zeros(2, 2))
    torch.autograd.backward(found.sum())
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()


def test_info_nce_inside_autocast() -> None:
    maps1, maps2 = maps(4, key=1).bfloat16(), maps(4, key=2).bfloat16()
    exact = aligned_info_nce(maps1.float(), maps2.float(), 1, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = aligned_info_nce(maps1, maps2, 1, 0.1)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, exact)


def aligned_by_hand(
    maps1: Tensor, maps2: Tensor, temperature: float, groups: list[int] | None = None
) -> float:
    """Windsor et al. 2021: a guess among all maps of the other view, in both directions."""
    names = groups or list(range(len(maps1)))
    table = [[correlation_by_hand(a, b, 1) for b in maps2] for a in maps1]
    total = 0.0
    for i in range(len(table)):
        seen = [k for k in range(len(table)) if k == i or names[k] != names[i]]
        for row in (table[i], [line[i] for line in table]):
            others = sum(math.exp(row[k] / temperature) for k in seen)
            total -= math.log(math.exp(row[i] / temperature) / others)
    return total / (2 * len(table))


@pytest.mark.parametrize("temperature", [0.005, 0.1, 1.0])
def test_info_nce_by_hand(temperature: float) -> None:
    maps1, maps2 = maps(5, 2, key=1), maps(5, 2, key=2)
    found = aligned_info_nce(maps1, maps2, 1, temperature).item()
    assert found == pytest.approx(aligned_by_hand(maps1, maps2, temperature), rel=1e-4)
    same = torch.ones(7, 3, 1, 1)
    assert aligned_info_nce(same, same, 1, temperature).item() == pytest.approx(math.log(7))


GROUPS = [0, 1, 0, 2, 1, 0]


def test_losses_with_groups() -> None:
    z1, z2 = pair(6)
    maps1, maps2 = maps(6, 2, key=1), maps(6, 2, key=2)
    groups = torch.tensor(GROUPS)
    found = nt_xent(z1, z2, 0.5, groups).item()
    assert found == pytest.approx(by_hand(z1, z2, 0.5, GROUPS), rel=1e-5)
    assert found < nt_xent(z1, z2, 0.5).item() - 0.1
    found = aligned_info_nce(maps1, maps2, 1, 0.5, groups).item()
    assert found == pytest.approx(aligned_by_hand(maps1, maps2, 0.5, GROUPS), rel=1e-5)
    # each a group of its own: nothing is left out
    assert nt_xent(z1, z2, 0.5, 7 + torch.arange(6)) == nt_xent(z1, z2, 0.5)


def both(size: int, groups: Tensor | None, share: slice = slice(None)) -> dict[str, Tensor]:
    """Losses and gradients of embeddings and maps, of some rows of a batch of `size`."""
    group = None if groups is None else groups[share]
    z1, z2 = (z.float()[share].requires_grad_() for z in pair(size))
    m1, m2 = (maps(size, 3, key=key)[share].requires_grad_() for key in (1, 2))
    embedded, aligned = nt_xent(z1, z2, 0.2, group), aligned_info_nce(m1, m2, 1, 0.2, group)
    torch.autograd.backward(embedded + 3 * aligned)
    grads = {f"grad {n}": each.grad for n, each in enumerate((z1, z2, m1, m2))}
    return {"z": embedded.detach(), "maps": aligned.detach(), **grads}  # type: ignore[dict-item]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("logits", [1, 40, 100])
def test_losses_in_chunks(monkeypatch: pytest.MonkeyPatch, grouped: bool, logits: int) -> None:
    groups = torch.arange(7) % 3 if grouped else None
    whole = both(7, groups)
    monkeypatch.setattr(losses, "LOGITS", logits)
    for name, found in both(7, groups).items():
        torch.testing.assert_close(found, whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("logits", [40, 2**22])
def test_losses_of_two_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouped: bool, logits: int
) -> None:
    groups = torch.arange(6) % 4 if grouped else None
    whole = both(6, groups)
    monkeypatch.setattr(losses, "LOGITS", logits)
    shares = together(lambda: both(6, groups, slice(rank(), None, ranks())), 2, tmp_path / "x")
    for name, expected in whole.items():
        found = torch.stack([share[name] for share in shares], min(1, expected.ndim))
        # a loss is the mean over ranks, and of its gradients each rank has those of its own rows
        merged = found.flatten(0, 1) / 2 if expected.ndim else found.mean()
        torch.testing.assert_close(merged, expected, rtol=1e-6, atol=1e-6)


def test_logits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = 0
    plain = F.cross_entropy

    def watched(logits: Tensor, partner: Tensor) -> Tensor:
        nonlocal widest
        widest = max(widest, logits.numel())
        return plain(logits, partner)

    monkeypatch.setattr(F, "cross_entropy", watched)
    monkeypatch.setattr(losses, "LOGITS", 4096)
    z1, z2 = pair(500, 4)
    assert nt_xent(z1, z2, 0.5).isfinite()
    assert 2048 < widest <= 4096


def test_logits_until_the_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that waits for the backward pass is smaller than the table of logits."""
    monkeypatch.setattr(losses, "LOGITS", 40_000)
    z1, z2 = (z.requires_grad_() for z in pair(500, 4))
    packed: list[weakref.ref[Tensor]] = []

    def kept(tensor: Tensor) -> Tensor:
        packed.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        loss = nt_xent(z1, z2, 0.5)
    waiting = [tensor.numel() for each in packed if (tensor := each()) is not None]
    assert 0 < sum(waiting) < 1000**2 / 10
    torch.autograd.backward(loss)
    assert z1.grad is not None
