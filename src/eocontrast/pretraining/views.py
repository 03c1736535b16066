"""SimCLR's two views of one image, for reflectances and backscatter instead of photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.patches.augment import Draws, Patches, Turn, gather
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.windows import Window
from eocontrast.pretraining.light import relit

ASPECT = 4 / 3
"""Widest (or, inverted, tallest) window of a random resized crop (SimCLR, appendix A)."""


@dataclass(frozen=True)
class SimCLRViews:
    """Two augmented views of one sensor's image (Chen et al. 2020), by what light and radar do.

    A view is a window in one of eight flips and rotations, zoomed by nearest pixels so that no data
    stays no data. Brightness is a gain of all bands, and what hue and saturation are to a photo a
    gain of every band: factors of reflectance, offsets in dB of backscatter. Contrast is about the
    mean of the image's band.

    Attributes:
        crop: side of a view in pixels.
        flips: also one of the eight flips and rotations of the square.
        min_scale: least area of the window over that of the view, in (0, 1]; 1 does not zoom.
        jitter: strength from 0 to 1 of what changes values; 0 leaves the store's integers.
    """

    crop: int
    flips: bool
    min_scale: float
    jitter: float

    def __call__(self, patches: Patches, inputs: Mapping[Sensor, InputSpec], draws: Draws) -> Batch:
        """Views (2B, bands, crop, crop) a sensor: the first of all samples, then the second.

        Args:
            patches: of this batch, at least as large as the views.
            inputs: units and statistics of the bands.
            draws: of this batch.

        Returns:
            The store's integers, or float32 on their scale where values were changed.
        """
        halves = [self._zoomed(patches, draws) for _ in range(2)]
        views = {kind: torch.cat([half[kind] for half in halves]) for kind in patches.kinds}
        if self.jitter == 0:
            return views
        return {s: relit(views[s], inputs[s], self.jitter, draws) for s in inputs}

    def _zoomed(self, patches: Patches, draws: Draws) -> Batch:
        ys, xs = _zoomed_lines(patches, self.crop, self.min_scale, draws)
        turn = Turn.draw(patches.size, self.flips, draws)
        # a square as large as the view holds them all
        top, left = (lines[:, 0].clamp(max=patches.side - self.crop) for lines in (ys, xs))
        window = Window(top, left, self.crop)
        places = turn(ys - top[:, None], xs - left[:, None])
        return {kind: gather(patches.read(kind, window), *places) for kind in patches.kinds}


def _zoomed_lines(
    patches: Patches, crop: int, min_scale: float, draws: Draws
) -> tuple[Tensor, Tensor]:
    """Lines and columns of a window of random area and aspect ratio, `crop` of each, (B, crop).

    Ratios are drawn from those of which the window is no larger than the view, so an area of one
    leaves a plain crop.
    """
    area, ratio, down, right = draws.uniform(4, patches.size, 1, dtype=torch.float64)
    area = min_scale + (1 - min_scale) * area
    widest = area.reciprocal().clamp(max=ASPECT).log()
    ratio = (widest * (2 * ratio - 1)).exp()
    tall, wide = (
        (crop * (area * factor).sqrt()).round().clamp(1, crop) for factor in (1 / ratio, ratio)
    )
    top, left = (
        (share * (patches.side - length + 1)).floor()
        for share, length in ((down, tall), (right, wide))
    )
    return _lines(top, tall, crop), _lines(left, wide, crop)


def _lines(start: Tensor, length: Tensor, crop: int) -> Tensor:
    """`crop` lines of the `length` from `start` on, the nearest to equal steps; (B, crop)."""
    step = 2 * torch.arange(crop) + 1
    return start.long() + step * length.long() // (2 * crop)
