"""What segmenters share: images padded to whole strides, and feature maps joined at every scale.

Axes: B batch, C channels, H and W pixels, h and w cells of a map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Sides = tuple[int, int]
"""Height and width in pixels or tokens."""


def pad_to_multiple(images_BCHW: Tensor, multiple: Sides) -> Tensor:
    """Pad images below and on the right until their sides are multiples of `multiple`.

    Padding mirrors the image, since land continues beyond the edge. If the image is smaller than
    the padding, its last row and column are repeated.
    """
    height, width = images_BCHW.shape[-2:]
    below, right = -height % multiple[0], -width % multiple[1]
    if not below and not right:
        return images_BCHW
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(images_BCHW, (0, right, 0, below), mode=mode)


FUSED = "fused"
"""Name of the stream of sensors that were joined before the end."""


class Fusion(nn.Module):
    """A linear layer per scale that joins the pyramids of several backbones."""

    def __init__(self, dims: list[int], streams: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(nn.Linear(streams * dim, dim) for dim in dims)

    def forward(self, pyramids: list[list[Tensor]]) -> list[Tensor]:
        """Return one pyramid of joined tokens, fine to coarse."""
        alike = zip(*pyramids, strict=True)
        joined = (torch.cat(tokens, dim=-1) for tokens in alike)
        return [fuse(tokens) for fuse, tokens in zip(self.scales, joined, strict=True)]
