"""Contrastive objectives: modules whose `forward(batch)` returns the loss alone.

On several ranks a batch holds one rank's share, and the mean of the losses over the ranks is the
loss of the whole batch; see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from eocontrast.config.pretraining import DualSimCLRRun, MMARun, SimCLRRun
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Backbone
from eocontrast.patches.inputs import Batch
from eocontrast.pretraining.losses import aligned_info_nce, nt_xent, unit_cells


def projection_head(num_features: int, projection_dim: int) -> nn.Module:
    """Return SimCLR's head, Linear-ReLU-Linear, or the identity if `projection_dim` is 0."""
    if projection_dim == 0:
        return nn.Identity()
    return nn.Sequential(
        # as wide as the features: Chen et al. 2020, section 4.2, find such a head better than a
        # linear one, and the features before it better than those behind it
        nn.Linear(num_features, num_features),
        nn.ReLU(),
        nn.Linear(num_features, projection_dim),
    )


class DualSimCLR(nn.Module):
    """Contrast of Sentinel-1 and Sentinel-2 images of one place (P1, section 2.2; P2, section 3.1).

    The images of both sensors are the two views. They share a place, but no speckle and no haze.
    """

    def __init__(self, backbones: Mapping[Sensor, Backbone], run: DualSimCLRRun) -> None:
        super().__init__()
        self.inputs = {sensor: backbones[sensor].inputs[sensor] for sensor in SENSORS}
        self.backbones = nn.ModuleDict({s: b for s, b in backbones.items()})
        self.projections = nn.ModuleDict(
            {s: projection_head(b.num_features, run.projection_dim) for s, b in backbones.items()}
        )
        self.temperature = run.temperature

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the embeddings of both sensors, (B, D) each, not normalised."""
        z1, z2 = (self.projections[s](self.backbones[s](batch)) for s in SENSORS)
        return z1, z2

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Return the loss of B pairs, a scalar; places of one group are no negatives."""
        return nt_xent(*self.embed(batch), self.temperature, group_B)


class SimCLR(nn.Module):
    """Contrast of two augmented views of one sensor's image (Chen et al. 2020), the control of P1.

    Batches hold the first views of all places, then the second ones, as `SimCLRViews` makes them.
    """

    def __init__(self, backbones: Mapping[Sensor, Backbone], run: SimCLRRun) -> None:
        super().__init__()
        self.backbone = backbones[run.sensor]
        self.inputs = {run.sensor: self.backbone.inputs[run.sensor]}
        self.projection = projection_head(self.backbone.num_features, run.projection_dim)
        self.temperature = run.temperature

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the embeddings of both views of (2B, bands, H, W), (B, D) each, not normalised."""
        z1, z2 = self.projection(self.backbone(batch)).chunk(2)
        return z1, z2

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Return the loss of both views of B places; places of one group are no negatives."""
        return nt_xent(*self.embed(batch), self.temperature, group_B)


class MMA(nn.Module):
    """Contrast of both sensors' feature maps at their best offset (Windsor et al. 2021).

    Images need not lie exactly on each other, and features keep their place in the image.
    """

    def __init__(self, backbones: Mapping[Sensor, Backbone], run: MMARun) -> None:
        super().__init__()
        self.inputs = {sensor: backbones[sensor].inputs[sensor] for sensor in SENSORS}
        self.backbones = nn.ModuleDict({s: b for s, b in backbones.items()})
        self.temperature, self.max_offset = run.temperature, run.max_offset

    def maps(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the coarsest feature maps of both sensors, (B, E, h, w) each."""
        maps1, maps2 = (self._maps(self.backbones[sensor], batch) for sensor in SENSORS)
        return maps1, maps2

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean over the cells of the maps, (B, E) each, not normalised."""
        z1, z2 = (unit_cells(maps).mean((2, 3)) for maps in self.maps(batch))
        return z1, z2

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Return the loss of B pairs, a scalar; places of one group are no negatives."""
        maps1, maps2 = self.maps(batch)
        return aligned_info_nce(maps1, maps2, self.max_offset, self.temperature, group_B)

    @staticmethod
    def _maps(backbone: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(backbone, Backbone)  # for mypy: a ModuleDict holds any module
        return backbone.pyramid(backbone.images(batch))[-1]
