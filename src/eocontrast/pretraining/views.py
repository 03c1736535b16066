"""Views for pretraining: one of each sensor, or two of one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.config.pretraining import PairRun, SimCLRRun
from eocontrast.modalities import Sensor
from eocontrast.patches.augment import Draws, View, random_window, turned
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.windows import Window
from eocontrast.pretraining.light import Light, LitView

ASPECT = 4 / 3
"""Largest aspect ratio of a window; the smallest is its inverse (SimCLR, appendix A)."""


@dataclass(frozen=True)
class PairViews:
    """One view a sensor: both images of a place, whose values stay as they are (P1, section 2.2).

    Attributes:
        run: `crop`, `flips` and `shared_crop` say what is drawn.
    """

    run: PairRun

    def windows(
        self, inputs: Mapping[Sensor, InputSpec], size: int, side: int, draws: Draws
    ) -> dict[Sensor, View]:
        """Draw the view of each sensor, (B, bands, crop, crop).

        Args:
            inputs: sensors to draw for.
            size: number of patches of this rank, B.
            side: side of a patch in pixels.
            draws: random numbers of this batch.
        """
        shared = random_window(size, side, self.run.crop, draws)
        windows = dict.fromkeys(inputs, shared)
        if not self.run.shared_crop:
            windows = {s: random_window(size, side, self.run.crop, draws) for s in inputs}
        lines = torch.arange(self.run.crop).expand(size, -1)
        pixels = turned(lines, lines, self.run.flips, draws)
        return {sensor: View(window, *pixels) for sensor, window in windows.items()}


@dataclass(frozen=True)
class SimCLRViews:
    """Two augmented views of each image of one sensor (Chen et al. 2020, section 3 and appendix A).

    Augmentations are those that light and radar cause. Zooming takes the nearest pixels, so missing
    pixels stay missing. Brightness is a gain of all bands. In place of a photo's hue and saturation
    each band has a gain of its own. A gain is a factor of reflectance, and an offset in dB of
    backscatter. Contrast is about the mean of each band of an image.

    Attributes:
        run: `crop`, `flips`, `min_scale` and `jitter` say what is drawn.
    """

    run: SimCLRRun

    def windows(
        self, inputs: Mapping[Sensor, InputSpec], size: int, side: int, draws: Draws
    ) -> dict[Sensor, View]:
        """Draw both views of every patch, (2B, bands, crop, crop): all first ones come first.

        Args:
            inputs: sensors to draw for, with the statistics of their bands.
            size: number of patches of this rank, B.
            side: side of a patch in pixels.
            draws: random numbers of this batch.
        """
        halves = [self._zoomed(size, side, draws) for _ in range(2)]
        top, left, ys, xs = (torch.cat(parts) for parts in zip(*halves, strict=True))
        window, jitter = Window(top, left, self.run.crop), self.run.jitter
        if jitter == 0:
            return {sensor: View(window, ys, xs) for sensor in inputs}
        return {
            sensor: LitView(window, ys, xs, spec, Light.draw(spec, 2 * size, jitter, draws))
            for sensor, spec in inputs.items()
        }

    def _zoomed(self, size: int, side: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw the corner of a window for each patch, and the lines and columns to show of it."""
        ys, xs = zoomed_lines(size, side, self.run.crop, self.run.min_scale, draws)
        # a square as large as the view contains any zoomed window
        top, left = (lines[:, 0].clamp(max=side - self.run.crop) for lines in (ys, xs))
        return top, left, *turned(ys - top[:, None], xs - left[:, None], self.run.flips, draws)


def zoomed_lines(
    size: int, side: int, crop: int, min_scale: float, draws: Draws
) -> tuple[Tensor, Tensor]:
    """Draw windows of random area and aspect ratio, and return `crop` lines and columns of each.

    The ratio is drawn such that the window is never larger than the view: with an area of 1 it is a
    plain crop.

    Returns:
        Lines and columns within the patch, int64 (B, crop) each.
    """
    area, ratio, down, right = draws.uniform(4, size, 1, dtype=torch.float64)
    # uniform in area, as the crops of SimCLR (appendix A)
    area = min_scale + (1 - min_scale) * area
    widest = area.reciprocal().clamp(max=ASPECT).log()
    # uniform on a logarithmic scale: a ratio and its inverse are equally likely
    ratio = (widest * (2 * ratio - 1)).exp()
    tall, wide = (
        (crop * (area * factor).sqrt()).round().clamp(1, crop) for factor in (1 / ratio, ratio)
    )
    top, left = (
        (share * (side - length + 1)).floor() for share, length in ((down, tall), (right, wide))
    )
    return nearest_lines(top, tall, crop), nearest_lines(left, wide, crop)


def nearest_lines(start: Tensor, length: Tensor, crop: int) -> Tensor:
    """Return `crop` lines at equal steps over `length` lines from `start` on, (B, crop)."""
    # the centres (k + 1/2) / crop of the view's lines, in whole numbers: no rounding differs by
    # device
    step = 2 * torch.arange(crop) + 1
    return start.long() + step * length.long() // (2 * crop)
