"""Pretrained backbones for other projects: plain timm models that know what they expect."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from eocontrast.modalities import Sensor
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError


class KnownInput(nn.Module):
    """To type checkers only: what is known of a loaded backbone, whose class is timm's own."""

    input_spec: InputSpec
    num_features: int


def load_backbone(path: str | Path, sensor: Sensor) -> KnownInput:
    """A timm model with the pretrained weights of one sensor, in eval mode.

    It maps images (B, bands, H, W) to pooled features (B, num_features), and has all that timm
    models have, `forward_intermediates` included. Its attribute `input_spec` says what it expects,
    and `input_spec.prepare(values, bands=..., units=...)` makes such images of physical values.

    Args:
        path: a file of pretrained weights, such as `models/pretrained/<run>.safetensors`.
        sensor: `s1` or `s2`.

    Raises:
        UserError: the file is missing, damaged or not one of ours, or has no weights of the sensor.
    """
    pretrained = Pretrained.load(Path(path))
    spec = pretrained.spec(sensor)
    if sensor not in pretrained.trained:
        raise UserError(
            f"{path} holds no weights of {sensor}: its method is {pretrained.method}, which leaves "
            "them to a seed; take the file of a run that trains"
        )
    backbone = cast(KnownInput, pretrained.backbone(sensor).timm.eval())
    backbone.input_spec = spec
    return backbone
