"""Check that an architecture takes images of every size that it will get, before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

import torch
from torch import Tensor, nn

from eocontrast.models.backbones import REFUSALS, Architecture, create_fitted
from eocontrast.models.decoders import DECODERS, Decoder
from eocontrast.models.fusion import Head
from eocontrast.models.levels import levels_of
from eocontrast.models.segmenters import pad_to_multiple
from eocontrast.runtime.errors import UserError

Part = Literal["features", "maps"] | Head
"""Part of a model in use: pooled features, feature maps, or those that a segmenter decodes."""

_CHANNELS = 3
"""Any number serves: only the first layer depends on it."""


def check_sizes(architecture: Architecture, part: Part, sides: Collection[int]) -> None:
    """Build a model and give it one image of each size.

    Args:
        architecture: Model and its options.
        part: Part of it in use.
        sides: Pixels along a side of the square images.

    Raises:
        UserError: timm has no such model, it does not take its options or one of the sizes, or it
            has no maps that the head decodes.
    """
    largest = max(sides)
    model, _ = create_fitted(architecture, _CHANNELS, largest)
    model.eval()
    try:
        forward = _forward(model, part)
    except UserError as error:
        raise UserError(f"{architecture.name}: {error}") from error
    # the model was fitted to the largest, so that a refusal of it is told first
    for side in sorted(sides, reverse=True):
        try:
            with torch.no_grad():
                forward(torch.zeros(1, _CHANNELS, side, side))
        except REFUSALS as error:
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"{architecture.name} does not take images of {side} x {side} pixels ({why}). "
                f"Images of {', '.join(map(str, sorted(sides)))} pixels are used here: set crops "
                "and patches to one size that it takes, or choose another model (docs/methods.md)"
            ) from error


def _forward(model: nn.Module, part: Part) -> Callable[[Tensor], object]:
    def maps(image_BCHW: Tensor) -> list[Tensor]:
        found: list[Tensor] = model.forward_intermediates(  # type: ignore[operator]
            image_BCHW, norm=True, intermediates_only=True
        )
        return found

    def decoded(image_BCHW: Tensor) -> Tensor:
        of_all = maps(pad_to_multiple(image_BCHW, (levels.coarsest, levels.coarsest)))
        logits: Tensor = decoder([of_all[position] for position in levels.positions])
        return logits

    # MMA compares maps; every other method and the classifiers pool features
    if part not in DECODERS:
        return maps if part == "maps" else model
    kind: type[Decoder] = DECODERS[part]
    levels = levels_of(model, kind.most_levels)
    decoder = kind(levels, num_classes=2).eval()
    return decoded
