"""What pretraining minimises. An objective's `forward(batch)` returns its loss and embeddings."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eocontrast.backbones import Backbone
from eocontrast.inputs import Batch
from eocontrast.modalities import SENSORS, Sensor


def nt_xent(z1_ND: Tensor, z2_ND: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1; P1, eq. 1), in float32.

    Row i of both inputs shows place i. Each of the 2N embeddings must find its partner among the
    2N - 1 others, those of its own sensor included.

    Args:
        z1_ND: embeddings of one view, (N, D), any scale.
        z2_ND: embeddings of the other view, (N, D).
        temperature: of the softmax over cosines.

    Returns:
        Mean loss over the 2N rows, a scalar.
    """
    with torch.autocast(z1_ND.device.type, enabled=False):
        z_MD = F.normalize(torch.cat([z1_ND, z2_ND]).float(), dim=1)
        logits_MM = (z_MD @ z_MD.T / temperature).fill_diagonal_(-torch.inf)
        partner_M = torch.arange(len(z_MD), device=z_MD.device).roll(len(z1_ND))
        return F.cross_entropy(logits_MM, partner_M)


def max_correlation(maps1_NEhw: Tensor, maps2_NEhw: Tensor, max_offset: int) -> Tensor:
    """How well two maps agree where they agree best (MMA, Windsor et al. 2021), in float32.

    The vectors of all cells are brought to length 1, and one map is moved over the other; what
    lies outside of it is zero.

    Args:
        maps1_NEhw: maps of one view, (N, E, h, w), any scale.
        maps2_NEhw: maps of the other view, (M, E, h, w).
        max_offset: cells by which one may be moved, up, down and sideways.

    Returns:
        Mean cosine over the cells at the best offset, (N, M), between -1 and 1.
    """
    with torch.autocast(maps1_NEhw.device.type, enabled=False):
        maps1, maps2 = _unit_cells(maps1_NEhw), _unit_cells(maps2_NEhw)
        # torch's convolution is a correlation: every map of the second view is a filter
        sums_NMuv = F.conv2d(maps1, maps2, padding=max_offset)
        return sums_NMuv.amax((2, 3)) / (maps1.shape[2] * maps1.shape[3])


def info_nce(similarities_NN: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding the partner, which lies on the diagonal; rows and columns alike."""
    logits = similarities_NN / temperature
    partner = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2


def _unit_cells(maps_NEhw: Tensor) -> Tensor:
    return F.normalize(maps_NEhw.float(), dim=1)


def projection_head(num_features: int, projection_dim: int) -> nn.Module:
    """Linear-ReLU-Linear (SimCLR's head), or nothing for `projection_dim` 0."""
    if projection_dim == 0:
        return nn.Identity()
    return nn.Sequential(
        nn.Linear(num_features, num_features), nn.ReLU(), nn.Linear(num_features, projection_dim)
    )


class DualSimCLR(nn.Module):
    """Contrast of Sentinel-1 and Sentinel-2 of one place (P1, section 2.2; P2, section 3.1).

    The two sensors are the two views: what they share is the place, and neither speckle nor haze.
    """

    def __init__(
        self, backbones: Mapping[Sensor, Backbone], projection_dim: int, temperature: float
    ) -> None:
        super().__init__()
        self.inputs = {sensor: backbones[sensor].inputs[sensor] for sensor in SENSORS}
        self.backbones = nn.ModuleDict({s: b for s, b in backbones.items()})
        self.projections = nn.ModuleDict(
            {s: projection_head(b.num_features, projection_dim) for s, b in backbones.items()}
        )
        self.temperature = temperature

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both sensors, (B, D) each, not normalised."""
        z1, z2 = (self.projections[s](self.backbones[s](batch)) for s in SENSORS)
        return z1, z2

    def forward(self, batch: Batch) -> Tensor:
        """Loss of a batch of pairs, a scalar."""
        return nt_xent(*self.embed(batch), self.temperature)


class SimCLR(nn.Module):
    """Contrast of two augmented views of one sensor's image (Chen et al. 2020), P1's control.

    Batches hold the first view of all places, then the second, as `SimCLRViews` makes them.
    """

    def __init__(
        self, sensor: Sensor, backbone: Backbone, projection_dim: int, temperature: float
    ) -> None:
        super().__init__()
        self.inputs = {sensor: backbone.inputs[sensor]}
        self.backbone = backbone
        self.projection = projection_head(backbone.num_features, projection_dim)
        self.temperature = temperature

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views of (2B, bands, H, W), (B, D) each, not normalised."""
        z1, z2 = self.projection(self.backbone(batch)).chunk(2)
        return z1, z2

    def forward(self, batch: Batch) -> Tensor:
        """Loss of a batch of both views, a scalar."""
        return nt_xent(*self.embed(batch), self.temperature)


class MMA(nn.Module):
    """Contrast of feature maps of both sensors where they align best (Windsor et al. 2021).

    Images need not lie exactly on each other, and what is learnt stays in its place.
    """

    def __init__(
        self, backbones: Mapping[Sensor, Backbone], temperature: float, max_offset: int
    ) -> None:
        super().__init__()
        self.inputs = {sensor: backbones[sensor].inputs[sensor] for sensor in SENSORS}
        self.backbones = nn.ModuleDict({s: b for s, b in backbones.items()})
        self.temperature, self.max_offset = temperature, max_offset

    def maps(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The coarsest feature maps of both sensors, (B, E, h, w) each."""
        maps1, maps2 = (self._maps(self.backbones[sensor], batch) for sensor in SENSORS)
        return maps1, maps2

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Means over the cells of the maps that are compared, (B, E) each, not normalised."""
        z1, z2 = (_unit_cells(maps).mean((2, 3)) for maps in self.maps(batch))
        return z1, z2

    def forward(self, batch: Batch) -> Tensor:
        """Loss of a batch of pairs, a scalar."""
        return info_nce(max_correlation(*self.maps(batch), self.max_offset), self.temperature)

    @staticmethod
    def _maps(backbone: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(backbone, Backbone)
        return backbone.pyramid(backbone.images(batch))[-1]
