"""Base classes of models, and what a missing sensor is to them: no data in every pixel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Backbone
from eocontrast.patches.inputs import Batch, InputSpec

Inputs = Mapping[Sensor, InputSpec]
"""Expected input of a model by sensor."""

Streams = dict[str, Tensor]
"""Output of each backbone of a model, by the backbone's name."""


def inputs_of(backbones: dict[str, Backbone]) -> dict[Sensor, InputSpec]:
    """Return the inputs of several backbones together, Sentinel-1 first."""
    seen = {s: spec for backbone in backbones.values() for s, spec in backbone.inputs.items()}
    return {sensor: seen[sensor] for sensor in SENSORS if sensor in seen}


class Model(nn.Module):
    """A model from stored integers (B, bands, H, W) by sensor to logits (B, C, ...).

    Attributes:
        inputs: Expected input by sensor.
        backbones: Parts that an init may supply; all others start from random weights.
        tile_multiple: Images whose sides are multiples of it are never padded.
    """

    inputs: dict[Sensor, InputSpec]
    backbones: nn.ModuleDict
    tile_multiple: int = 1


class LateModel(Model, ABC):
    """A model that joins the outputs of its backbones at the end."""

    @property
    def apart(self) -> bool:
        """Return True if each sensor has its own backbone, so that one can be left out."""
        return list(self.backbones) == list(self.inputs)

    @abstractmethod
    def streams(self, batch: Batch) -> Streams:
        """Return the output of each backbone for a batch."""

    @abstractmethod
    def join(self, streams: Streams) -> Tensor:
        """Return the logits from the outputs of all backbones."""

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits of a batch."""
        return self.join(self.streams(batch))


class PooledModel(LateModel):
    """A model on pooled features of its backbones."""

    def __init__(self, backbones: dict[str, Backbone]) -> None:
        super().__init__()
        self.inputs = inputs_of(backbones)
        self.backbones = nn.ModuleDict(backbones)
        self.num_features = sum(backbone.num_features for backbone in backbones.values())

    def streams(self, batch: Batch) -> Streams:
        """Return the features (B, num_features) of each backbone."""
        return {name: backbone(batch) for name, backbone in self.backbones.items()}


def sensor_sets(inputs: Inputs) -> list[tuple[Sensor, ...]]:
    """Return all sensors of a model and, if there are several, each of them alone."""
    sensors = tuple(inputs)
    return [sensors, *((sensor,) for sensor in sensors)] if len(sensors) > 1 else [sensors]


def keep_only(batch: Batch, inputs: Inputs, sensors: tuple[Sensor, ...]) -> Batch:
    """Return the batch with no data for all sensors except `sensors`.

    Every model reads no data as zeros.
    """
    kept = dict(batch)
    for sensor, spec in inputs.items():
        if sensor not in sensors:
            kept[sensor] = torch.full_like(batch[sensor], spec.modality.storage.nodata)
    return kept


def drawn_missing(
    size: int, inputs: Inputs, share: float, draws: torch.Generator
) -> dict[str, Tensor]:
    """Draw which samples lose which sensor: a `share` of them loses one of two, never both.

    Returns:
        Booleans (size,) by sensor, on the CPU.
    """
    dropped = torch.rand(size, generator=draws) < share
    # drawn for all samples, so that the draws of one do not depend on another's
    chosen = torch.randint(len(inputs), (size,), generator=draws)
    return {sensor: dropped & (chosen == number) for number, sensor in enumerate(inputs)}


def drop_sensors(batch: Batch, inputs: Inputs, share: float, draws: torch.Generator) -> Batch:
    """Return the batch with one sensor missing in a `share` of its samples."""
    size = len(next(iter(batch.values())))
    kept = dict(batch)
    for sensor, lost in drawn_missing(size, inputs, share, draws).items():
        stored = batch[sensor]
        nodata = inputs[sensor].modality.storage.nodata  # type: ignore[index]
        where = lost.to(stored.device)[:, None, None, None]
        kept[sensor] = torch.where(where, torch.tensor(nodata, dtype=stored.dtype), stored)
    return kept
