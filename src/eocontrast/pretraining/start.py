"""Continued pretraining: contrastive runs that start from published weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.weights import PUBLISHED, Pretrained
from eocontrast.patches.agreement import compare_ground
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

Starts = dict[Sensor, Pretrained]
"""Weights to start from, by sensor."""


def published_starts(
    names: Sequence[str],
    architecture: Architecture,
    data: Mapping[Sensor, InputSpec],
) -> Starts:
    """Load the weights that a run starts from, by sensor.

    Args:
        names: Names in the catalogue, one a sensor.
        architecture: Architecture of the run.
        data: Input of the patch store by sensor.

    Raises:
        UserError: a file is missing, has another architecture, or does not suit the data.
    """
    starts: Starts = {}
    for name in names:
        file = PUBLISHED / f"{name}.safetensors"
        if not file.exists():
            raise UserError(
                f"{file} is missing, which init_from names: run `eocontrast weights fetch {name}`"
            )
        start = Pretrained.load(file)
        (sensor,) = start.trained
        spec = start.spec(sensor)
        if start.architecture != architecture:
            raise UserError(
                f"init_from: {name} is a {start.architecture}, but the run's backbone is a "
                f"{architecture}: make `backbones` in params.yaml equal"
            )
        # refuses bands or units that the data do not have
        spec.channels(data[sensor].modality)
        compare_ground(name, {sensor: spec}, data)
        print(f"{sensor} continues from {name}, with its scaling {spec.scaling}", file=sys.stderr)
        starts[sensor] = start
    return starts


def started_specs(starts: Starts, specs: Mapping[Sensor, InputSpec]) -> dict[Sensor, InputSpec]:
    """Return the input of each sensor: that of its start, at the patch size of the run."""
    return {
        sensor: replace(
            starts[sensor].spec(sensor),
            patch_size=own.patch_size,
            pixel=own.pixel,
            with_offset=own.with_offset,
        )
        if sensor in starts
        else own
        for sensor, own in specs.items()
    }


def load_starts(starts: Starts, backbones: Mapping[Sensor, Backbone]) -> None:
    """Copy the weights of the starts into the backbones."""
    for sensor, start in starts.items():
        backbones[sensor].timm.load_state_dict(start.backbone(sensor).timm.state_dict())
