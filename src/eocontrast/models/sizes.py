"""Check that an architecture takes images of every size that it will get, before it is trained."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
from torch import Tensor, nn

from eocontrast.models.backbones import REFUSALS, Architecture, create_fitted
from eocontrast.models.segmenters import pad_to_multiple
from eocontrast.models.unet import create_unet
from eocontrast.runtime.errors import UserError

Part = Literal["features", "maps", "unet"]
"""Part of a model in use: pooled features, feature maps, or the encoder of a U-Net."""

_CHANNELS = 3
"""Any number serves: only the first layer depends on it."""


def check_sizes(architecture: Architecture, part: Part, sides: Collection[int]) -> None:
    """Build a model and give it one image of each size.

    Args:
        architecture: Model and its options.
        part: Part of it in use.
        sides: Pixels along a side of the square images.

    Raises:
        UserError: timm has no such model, or it does not take its options or one of the sizes.
    """
    largest = max(sides)
    if part == "unet":
        model = create_unet(architecture, _CHANNELS, num_classes=2)
    else:
        model, _ = create_fitted(architecture, _CHANNELS, largest)
    model.eval()
    # the model was fitted to the largest, so that a refusal of it is told first
    for side in sorted(sides, reverse=True):
        try:
            _forward(model, part, torch.zeros(1, _CHANNELS, side, side))
        except REFUSALS as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"{architecture.name} does not take images of {side} x {side} pixels ({why}). "
                f"Images of {', '.join(map(str, sorted(sides)))} pixels are used here: set crops "
                "and patches to one size that it takes, or choose another model (docs/methods.md)"
            ) from error


@torch.no_grad()
def _forward(model: nn.Module, part: Part, image_BCHW: Tensor) -> None:
    if part == "unet":
        stride = int(model.encoder.output_stride)  # type: ignore[union-attr, arg-type]
        model(pad_to_multiple(image_BCHW, (stride, stride)))
    elif part == "maps":
        model.forward_intermediates(image_BCHW, norm=True, intermediates_only=True)  # type: ignore[operator]
    else:
        model(image_BCHW)
