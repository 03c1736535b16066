"""Pretrained backbones for other projects, as plain timm models with their input specification."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from eocontrast.modalities import Sensor
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError


class KnownInput(nn.Module):
    """Attributes of a loaded backbone, for type checkers only; its class is timm's own."""

    input_spec: InputSpec
    num_features: int


def load_backbone(path: str | Path, sensor: Sensor) -> KnownInput:
    """Load a timm model with the pretrained weights of one sensor, in eval mode.

    It maps images (B, bands, H, W) to pooled features (B, num_features), and has all methods of
    timm's models, such as `forward_intermediates`. Its attribute `input_spec` describes the images:
    `input_spec.prepare(values, bands=..., units=...)` makes them from physical values.

    Args:
        path: File of pretrained weights, such as `models/pretrained/<run>.safetensors`.
        sensor: `s1` or `s2`.

    Raises:
        UserError: the file is missing, damaged or of another kind, or has no weights for the
            sensor.
    """
    pretrained = Pretrained.load(Path(path))
    spec = pretrained.spec(sensor)
    if sensor not in pretrained.trained:
        raise UserError(
            f"{path} holds no weights for {sensor}, because its method is {pretrained.method}. "
            "Load the file of a run that was pretrained"
        )
    backbone = cast(KnownInput, pretrained.backbone(sensor).timm.eval())
    backbone.input_spec = spec
    return backbone
