import pytest
import torch
import torch.nn.functional as F

from eocontrast.training.health import (
    CollapseError,
    embedding_health,
    refuse_collapse,
    refuse_not_finite,
)


def random(size: int = 200, dim: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, dim, generator=torch.Generator().manual_seed(seed))


def test_health_of_random_embeddings() -> None:
    health = embedding_health(random(seed=1), random(seed=2))
    assert health["spread"] == pytest.approx(1, abs=0.05)
    assert health["mean_cosine"] == pytest.approx(0, abs=0.02)
    assert health["effective_rank"] > 14
    assert health["retrieval_top1"] < 0.1
    refuse_collapse(health)


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_collapse_to_one_point(noise: float) -> None:
    z = torch.ones(50, 8) + noise * random(50, 8)
    health = embedding_health(z, z)
    assert health["mean_cosine"] == pytest.approx(1, abs=1e-6)
    with pytest.raises(CollapseError, match=r"spread 0\.000"):
        refuse_collapse(health)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_collapse_to_zeros(value: float) -> None:
    z = torch.full((10, 4), value)
    with pytest.raises(CollapseError):
        refuse_collapse(embedding_health(z, z))


def test_retrieval_of_partners() -> None:
    z = random()
    assert embedding_health(z, 3 * z)["retrieval_top1"] == 1
    assert embedding_health(z, z.roll(1, 0))["retrieval_top1"] == 0


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_effective_rank_of_axes(rank: int) -> None:
    """Both signs of `rank` axes: centred, of one norm, the same variance along every axis."""
    axes = torch.eye(16)[:rank]
    z = torch.cat([axes, -axes])
    assert embedding_health(z, z)["effective_rank"] == pytest.approx(rank, rel=1e-6)


def test_effective_rank_without_mean() -> None:
    z = torch.tensor([[3.0, 1.0, 0.0], [3.0, -1.0, 0.0]]).repeat(5, 1)
    assert embedding_health(z, z)["effective_rank"] == pytest.approx(1, rel=1e-6)


def test_effective_rank_of_views() -> None:
    four, two = (F.pad(torch.eye(n).repeat(8, 1), (0, 8 - n)) for n in (4, 2))
    one, other = (embedding_health(z, z)["effective_rank"] for z in (four, two.repeat(2, 1)))
    both = embedding_health(four, two.repeat(2, 1))["effective_rank"]
    assert both == pytest.approx((one + other) / 2)
    assert one > other + 1


def test_effective_rank_of_low_rank() -> None:
    low = random(dim=3) @ random(3, 16, seed=5)
    assert 2 < embedding_health(low, low)["effective_rank"] <= 3 + 1e-6


def test_health_by_scale() -> None:
    z1, z2 = random(seed=1), random(seed=2)
    assert embedding_health(z1, z2) == pytest.approx(embedding_health(7 * z1, 0.1 * z2))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_infinite(loss: float) -> None:
    refuse_not_finite(3.0, 12)
    with pytest.raises(CollapseError, match="step 12"):
        refuse_not_finite(loss, 12)
