"""Models whose backbones speak one by one and are joined at the end, so that one may be missing."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Backbone
from eocontrast.patches.inputs import Batch, InputSpec

Streams = dict[str, Tensor]
"""What each backbone of a model says, by the backbone's name."""


def inputs_of(backbones: dict[str, Backbone]) -> dict[Sensor, InputSpec]:
    """What several backbones expect together, Sentinel-1 first."""
    seen = {s: spec for backbone in backbones.values() for s, spec in backbone.inputs.items()}
    return {sensor: seen[sensor] for sensor in SENSORS if sensor in seen}


class Model(nn.Module):
    """What is fine-tuned: stored integers (B, bands, H, W) a sensor to logits (B, C, ...).

    Attributes:
        inputs: what it expects of each sensor.
        backbones: those that an init may supply; parameters elsewhere always start anew.
        tile_multiple: images whose sides are multiples of it are padded nowhere on the way.
    """

    inputs: dict[Sensor, InputSpec]
    backbones: nn.ModuleDict
    tile_multiple: int = 1


class LateModel(Model, ABC):
    """A model that is a join of streams."""

    @property
    def apart(self) -> bool:
        """Whether there is a stream of every sensor, so that one can be left out at the end."""
        return list(self.backbones) == list(self.inputs)

    @abstractmethod
    def streams(self, batch: Batch) -> Streams:
        """What each backbone says of a batch."""

    @abstractmethod
    def join(self, streams: Streams) -> Tensor:
        """Logits of what all backbones say."""

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch."""
        return self.join(self.streams(batch))


class PooledModel(LateModel):
    """A model on pooled features."""

    def __init__(self, backbones: dict[str, Backbone]) -> None:
        super().__init__()
        self.inputs = inputs_of(backbones)
        self.backbones = nn.ModuleDict(backbones)
        self.num_features = sum(backbone.num_features for backbone in backbones.values())

    def streams(self, batch: Batch) -> Streams:
        """Features (B, num_features) a backbone."""
        return {name: backbone(batch) for name, backbone in self.backbones.items()}
