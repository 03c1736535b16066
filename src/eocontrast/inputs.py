"""From stored integers to what a backbone sees: the same arithmetic in training and in a map.

Normalisation is fixed per band, from the pretraining data. Dividing each channel of each crop by
its own maximum, as both papers did, throws the radiometry away: one bright roof rescales the image.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from eocontrast.modalities import Modality, Sensor

Batch = dict[Sensor, Tensor]
"""Stored integers by sensor, each (B, bands, H, W)."""


@dataclass(frozen=True)
class InputSpec:
    """What weights expect of one sensor: its modality, and mean and sd per band in its units."""

    modality: Modality
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, for weight files and the store."""
        return {**asdict(self.modality), "mean": self.mean, "sd": self.sd}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> InputSpec:
        """Inverse of `to_dict`."""
        modality = Modality(tuple(fields["bands"]), fields["units"], tuple(fields["valid_range"]))
        return cls(modality, tuple(fields["mean"]), tuple(fields["sd"]))


class Standardise(nn.Module):
    """Stored integers (B, C, H, W) to zero mean and unit variance, float32; no data becomes 0.

    Zero is the mean of the band: a missing pixel says nothing instead of something extreme.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.storage = spec.modality.storage
        low, high = spec.modality.valid_range
        mean, sd = (torch.tensor(v).view(1, -1, 1, 1) for v in (spec.mean, spec.sd))
        # one multiplication and one addition a value; not persistent, because the spec in the
        # weight file's header is the one source of these numbers
        self.register_buffer("scale", self.storage.step / sd, persistent=False)
        self.register_buffer("shift", -mean / sd, persistent=False)
        self.register_buffer("low", (low - mean) / sd, persistent=False)
        self.register_buffer("high", (high - mean) / sd, persistent=False)

    def forward(self, stored: Tensor) -> Tensor:
        """Standardised bands, same shape."""
        values = stored.float()
        missing = values == self.storage.nodata
        values = torch.addcmul(self.shift, values, self.scale).clamp_(self.low, self.high)
        return values.masked_fill_(missing, 0)
