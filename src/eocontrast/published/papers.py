"""The checkpoints that the authors of the papers P1 and P2 published."""

from __future__ import annotations

from collections.abc import Sequence

from eocontrast.modalities import SENSORS, SENTINEL2_L1C, Modality, Sensor
from eocontrast.models.backbones import Architecture
from eocontrast.models.weights import Pretrained
from eocontrast.published.checkpoints import State
from eocontrast.published.convert import input_spec
from eocontrast.published.fit import fitted
from eocontrast.runtime.errors import UserError, some

_BRANCHES: dict[Sensor, str] = {"s1": "backbone1.", "s2": "backbone2."}
"""Prefixes of the two backbones in the published checkpoints."""

_PUBLISHED: dict[str, tuple[Architecture, int]] = {
    # a tensor that only this layout has, the architecture, and the side of its training patches
    "patch_embed.proj.weight": (
        # as published: the last stage, one window at 224 px, is not shifted
        Architecture("swin_tiny_patch4_window7_224", {"always_partition": False}),
        224,
    ),
    "layer1.0.conv3.weight": (Architecture("resnet50"), 128),
    "layer1.0.conv1.weight": (Architecture("resnet18"), 128),
}

_EXPECTED: dict[Sensor, Modality] = {
    # the papers clip backscatter to -25 to 0 dB
    "s1": Modality(("VV", "VH"), "dB", (-25.0, 0.0)),
    "s2": SENTINEL2_L1C,
}
"""Input of the published backbones; each band of each crop is divided by its maximum."""


def published_backbones(state: State, sensors: Sequence[Sensor] = SENSORS) -> Pretrained:
    """Convert a checkpoint that the authors of P1 and P2 published.

    Swin-T, ResNet18 and ResNet50 are recognised by their tensors. Projection heads and classifiers
    are left out.

    Args:
        state: Tensors by name; `backbone1.` is Sentinel-1's and `backbone2.` Sentinel-2's.
        sensors: Sensors whose backbones are converted.

    Raises:
        UserError: another layout, or a tensor that is missing, left over or of another shape.
    """
    branches = _branches(state)
    architecture, patch_size = _published_architecture(branches)
    # SEN12MS: pixels of 10 m, and products of 2016 and 2017, before the offset
    specs = {
        s: input_spec(_EXPECTED[s], patch_size, "crop_maximum", pixel=10, with_offset=False)
        for s in sensors
    }
    tensors: State = {}
    for sensor, spec in specs.items():
        tensors |= fitted(branches[sensor], architecture, sensor, spec, _BRANCHES[sensor])
    return Pretrained("imported", architecture, specs, tensors, "")


def _branches(state: State) -> dict[Sensor, State]:
    """Split the tensors by backbone, without the `module.` of DataParallel."""
    names = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    branches = {
        sensor: {
            name.removeprefix(branch).removeprefix("module."): tensor
            for name, tensor in names.items()
            if name.startswith(branch)
        }
        for sensor, branch in _BRANCHES.items()
    }
    left = [name for name in names if not name.startswith(tuple(_BRANCHES.values()))]
    if left or not all(branches.values()):
        raise UserError(
            "unknown layout: published checkpoints hold backbone1. (Sentinel-1) and backbone2. "
            f"(Sentinel-2) and nothing else, this one {some(left or names)}; for other weights "
            "name timm's model by --model"
        )
    return branches


def _published_architecture(branches: dict[Sensor, State]) -> tuple[Architecture, int]:
    for marker, published in _PUBLISHED.items():
        if all(marker in branch for branch in branches.values()):
            return published
    raise UserError(
        "unknown layout: these backbones are none of Swin-T, ResNet18 and ResNet50, which were "
        f"published; they hold {some(branches['s2'])}; for other weights name timm's model by "
        "--model"
    )
