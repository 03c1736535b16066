"""What pretraining minimises. An objective's `forward(batch)` returns its loss and embeddings.

On several ranks a batch holds one rank's share, and the mean of the losses over the ranks is the
loss of all; see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Backbone
from eocontrast.patches.inputs import Batch
from eocontrast.pretraining.losses import aligned_info_nce, nt_xent, unit_cells


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

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Loss of a batch of pairs, a scalar; others of one's own group are no negatives."""
        return nt_xent(*self.embed(batch), self.temperature, group_B)


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

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Loss of both views of B places, a scalar; others of one's own group are no negatives."""
        return nt_xent(*self.embed(batch), self.temperature, group_B)


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
        z1, z2 = (unit_cells(maps).mean((2, 3)) for maps in self.maps(batch))
        return z1, z2

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Loss of a batch of pairs, a scalar; others of one's own group are no negatives."""
        maps1, maps2 = self.maps(batch)
        return aligned_info_nce(maps1, maps2, self.max_offset, self.temperature, group_B)

    @staticmethod
    def _maps(backbone: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(backbone, Backbone)
        return backbone.pyramid(backbone.images(batch))[-1]
