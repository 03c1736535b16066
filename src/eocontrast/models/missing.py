"""A sensor that took no image: one model for both sensors, and for either alone.

What is missing is no data in every pixel, which every model already reads as zeros.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.patches.inputs import Batch, InputSpec

Inputs = Mapping[Sensor, InputSpec]


def sensor_sets(inputs: Inputs) -> list[tuple[Sensor, ...]]:
    """All sensors that a model takes and, where there are several, each of them alone."""
    sensors = tuple(inputs)
    return [sensors, *((sensor,) for sensor in sensors)] if len(sensors) > 1 else [sensors]


def keep_only(batch: Batch, inputs: Inputs, sensors: tuple[Sensor, ...]) -> Batch:
    """The batch as it would be if `sensors` alone had taken an image."""
    kept = dict(batch)
    for sensor, spec in inputs.items():
        if sensor not in sensors:
            kept[sensor] = torch.full_like(batch[sensor], spec.modality.storage.nodata)
    return kept


def drawn_missing(
    size: int, inputs: Inputs, share: float, draws: torch.Generator
) -> dict[str, Tensor]:
    """Which samples lose which sensor: a `share` of them loses one of two, never both.

    Returns:
        By sensor, (size,) bool on the CPU.
    """
    dropped = torch.rand(size, generator=draws) < share
    chosen = torch.randint(len(inputs), (size,), generator=draws)
    return {sensor: dropped & (chosen == number) for number, sensor in enumerate(inputs)}


def drop_sensors(batch: Batch, inputs: Inputs, share: float, draws: torch.Generator) -> Batch:
    """The batch with one sensor missing in a `share` of its samples."""
    size = len(next(iter(batch.values())))
    kept = dict(batch)
    for sensor, lost in drawn_missing(size, inputs, share, draws).items():
        stored = batch[sensor]
        nodata = inputs[sensor].modality.storage.nodata  # type: ignore[index]
        where = lost.to(stored.device)[:, None, None, None]
        kept[sensor] = torch.where(where, torch.tensor(nodata, dtype=stored.dtype), stored)
    return kept
