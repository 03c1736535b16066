"""Choice of a backbone's feature maps for a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from eocontrast.runtime.errors import UserError

_OF_ONE_STRIDE = 4
"""Blocks of a plain ViT that are decoded, evenly spaced (Ranftl et al. 2021: 3, 6, 9, 12 of 12)."""


@dataclass(frozen=True)
class Levels:
    """The feature maps of a backbone that a decoder takes, fine to coarse.

    Attributes:
        positions: Positions among all maps.
        channels: Channels of each.
        strides: Pixels along a side of a cell of each.
    """

    positions: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def coarsest(self) -> int:
        """Return the largest stride."""
        return self.strides[-1]

    @property
    def halving(self) -> bool:
        """Return whether the maps get coarser from one to the next."""
        return len({*self.strides}) > 1


def levels_of(model: nn.Module, most: int) -> Levels:
    """Choose the last map of every stride, or four blocks of a model whose maps have one stride.

    Args:
        model: Model with timm's interface.
        most: Largest number of maps; the finest are left out.

    Raises:
        UserError: the model does not list its maps as timm's models do.
    """
    maps = getattr(model, "feature_info", None)
    if not maps or not hasattr(model, "forward_intermediates"):
        raise UserError(
            f"a {type(model).__name__} has no feature_info, timm's list of feature maps, which a "
            "segmentation head needs; take another backbone, such as resnet18"
        )
    strides = [int(of["reduction"]) for of in maps]
    # the last map of a stride is its deepest; a later entry replaces an earlier one
    last = {stride: position for position, stride in enumerate(strides)}
    positions = [last[stride] for stride in sorted(last)]
    if len(positions) == 1:
        parts = range(1, _OF_ONE_STRIDE + 1)
        # of twelve blocks the 3rd, 6th, 9th and 12th
        positions = [max(len(maps) * part // _OF_ONE_STRIDE - 1, 0) for part in parts]
    # without the coarsest a decoder would not see the context
    positions = positions[-most:]
    return Levels(
        tuple(positions),
        tuple(int(maps[position]["num_chs"]) for position in positions),
        tuple(strides[position] for position in positions),
    )
