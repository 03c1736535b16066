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
