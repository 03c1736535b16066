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

ASPECT = 4 / 3
"""Largest aspect ratio of a window; the smallest is its inverse (SimCLR, appendix A)."""

BRIGHTNESS, CONTRAST, BAND_GAIN = 0.8, 0.8, 0.2
"""Factors lie between 1 - this and 1 + this at full strength, as SimCLR's brightness, contrast and
hue do."""

GREY, BLUR = 0.2, 0.5
"""Shares of views without colour, and of blurred views (SimCLR, appendix A)."""

BLUR_PIXELS = (0.1, 1.0)
"""Range of the blur's sd in pixels. SimCLR goes up to 2 px, on images of 224."""


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


@dataclass(frozen=True)
class Light:
    """Changes of the values of each view.

    Attributes:
        gain: factor of every band, (B, C, 1, 1).
        contrast: factor of the difference from the mean, (B, 1, 1, 1).
        grey: whether the view loses its colour, (B, 1, 1, 1).
        blur: sd of the blur in pixels, 0 for none, (B, 1, 1, 1).
    """

    gain: Tensor
    contrast: Tensor
    grey: Tensor
    blur: Tensor

    @classmethod
    def draw(cls, spec: InputSpec, size: int, jitter: float, draws: Draws) -> Light:
        """Draw for `size` views of the bands of `spec`, at a strength `jitter` from 0 to 1."""

        def uniform(channels: int = 1) -> Tensor:
            return draws.uniform(1, size, channels, 1, 1)[0]

        bands = len(spec.modality.bands)
        brightness, band_gain, contrast = (
            1 + jitter * most * (2 * uniform(channels) - 1)
            for most, channels in ((BRIGHTNESS, 1), (BAND_GAIN, bands), (CONTRAST, 1))
        )
        least, most = BLUR_PIXELS
        blur = torch.where(uniform() < BLUR, least + (most - least) * uniform(), 0.0)
        return cls(brightness * band_gain, contrast, uniform() < GREY, blur)

    def to(self, device: torch.device) -> Light:
        """Return the same on a device."""
        parts = (self.gain, self.contrast, self.grey, self.blur)
        return Light(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class LitView(View):
    """A view in other light, with other gains, sometimes without colour or out of focus.

    Attributes:
        spec: units and statistics of the bands.
        light: changes of the values.
    """

    spec: InputSpec
    light: Light

    def __call__(self, stored: Tensor) -> Tensor:
        """Return float32 pixels on the scale of the store's integers; missing ones stay missing.

        Args:
            stored: the window of each patch, (B, bands, side, side), on any device.

        Returns:
            (B, bands, crop, crop)
        """
        return relit(super().__call__(stored), self.spec, self.light.to(stored.device))


def relit(stored: Tensor, spec: InputSpec, light: Light) -> Tensor:
    """Return integers of the store (B, C, H, W) in other light, float32 on the same scale."""
    storage = spec.modality.storage
    # contiguous: the blur multiplies matrices of one band each
    raw = stored.float().contiguous()
    missing = raw == storage.nodata
    valid = (~missing).float() if missing.any() else None
    low, high = (bound / storage.step for bound in spec.modality.valid_range)
    values = raw.clamp(low, high)
    if spec.modality.units in ("dB", "linear"):  # both are stored as dB
        # a factor of power is a sum in decibels
        values = values + 10 / storage.step * light.gain.log10()
    else:
        values = values * light.gain
    centre = _mean_of_valid(values, valid, (2, 3))
    values = centre + light.contrast * (values - centre)
    # a fifth of the views is grey and half are blurred: the others need no work
    grey, soft = (which.flatten().nonzero()[:, 0] for which in (light.grey, light.blur))
    values.index_copy_(0, grey, _without_colour(values[grey], _of(valid, grey), spec))
    values.index_copy_(0, soft, _blurred(values[soft], _of(valid, soft), light.blur[soft]))
    return values if valid is None else torch.where(missing, raw, values)


def _of(valid: Tensor | None, samples: Tensor) -> Tensor | None:
    return None if valid is None else valid[samples]


def _without_colour(values: Tensor, valid: Tensor | None, spec: InputSpec) -> Tensor:
    """Give every band the mean of all bands, each in units of its own sd."""
    step = spec.modality.storage.step
    mean, sd = (
        torch.tensor(v, device=values.device).view(1, -1, 1, 1) / step for v in (spec.mean, spec.sd)
    )
    return mean + sd * _mean_of_valid((values - mean) / sd, valid, (1,))


def _mean_of_valid(values: Tensor, valid: Tensor | None, dims: tuple[int, ...]) -> Tensor:
    """Return the mean of the values where `valid` is 1, or of all values if it is None."""
    if valid is None:
        return values.mean(dims, keepdim=True)
    count = valid.sum(dims, keepdim=True).clamp_min(1)
    return (values * valid).sum(dims, keepdim=True) / count


def _blurred(values: Tensor, valid: Tensor | None, sd_B111: Tensor) -> Tensor:
    """Return the Gaussian mean of the valid pixels around each; every view has its own sd."""
    side = torch.arange(values.shape[2], device=values.device)
    kernel = torch.exp(-(side[:, None] - side).square() / (2 * sd_B111.square()))  # (B, 1, P, P)
    if valid is None:
        kernel = kernel / kernel.sum(-1, keepdim=True)
        return kernel @ values @ kernel.mT
    # normalised convolution (Knutsson and Westin 1993): missing neighbours have no weight
    weights = kernel @ valid @ kernel
    return kernel @ (values * valid) @ kernel / weights.clamp_min(1e-6)
