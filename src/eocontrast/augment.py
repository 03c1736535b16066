"""Random views of a batch, on the device that the batch lives on.

One gather crops, zooms, flips and rotates: bytes are touched once, and in the store's integers.
Random numbers come from a CPU generator, so that a view is the same on every device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.inputs import Batch, InputSpec
from eocontrast.modalities import Sensor

ASPECT = 4 / 3
"""Widest (or, inverted, tallest) window of a random resized crop (SimCLR, appendix A)."""

BRIGHTNESS, CONTRAST, BAND_GAIN = 0.8, 0.8, 0.2
"""At full strength factors are drawn from 1 - this to 1 + this, as SimCLR draws brightness,
contrast and hue."""

GREY, BLUR = 0.2, 0.5
"""Shares of views without colour, and blurred (SimCLR, appendix A)."""

BLUR_PIXELS = (0.1, 1.0)
"""Sd of the blur. SimCLR draws up to 2 px, of images of 224."""


def generator(*key: int) -> torch.Generator:
    """A CPU generator that is a function of `key` alone, e.g. (seed, step).

    Keys are mixed by SplitMix64's finaliser, so that (0, 1) and (1, 0) are unrelated.
    """
    state = 0x9E3779B97F4A7C15
    for part in key:
        state = (state ^ (part + 0x9E3779B97F4A7C15)) & (2**64 - 1)
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        state ^= state >> 31
    return torch.Generator().manual_seed(state >> 1)


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch visits `size` samples, a function of (seed, epoch)."""
    return torch.randperm(size, generator=generator(seed, epoch))


def random_view(batch: Batch, crop: int, flips: bool, draws: torch.Generator) -> Batch:
    """The same random window of every sensor, one window a sample.

    Args:
        batch: (B, bands, H, W) a sensor, equal H and W.
        crop: side of the window; at most H and W.
        flips: also one of the eight flips and rotations of the square.
        draws: CPU generator.

    Returns:
        (B, bands, crop, crop) a sensor, channels last in memory.
    """
    return PairViews(crop, flips, shared_crop=True)(batch, {}, draws)


@dataclass(frozen=True)
class PairViews:
    """One place as the sensors saw it: they are the views, and nothing else changes.

    Attributes:
        crop: side of the window in pixels.
        flips: also one of the eight flips and rotations of the square, the same of all sensors.
        shared_crop: one window of all sensors, as both papers; or each its own.
    """

    crop: int
    flips: bool
    shared_crop: bool

    def __call__(
        self, batch: Batch, inputs: Mapping[Sensor, InputSpec], draws: torch.Generator
    ) -> Batch:
        """Views (B, bands, crop, crop) a sensor, in the store's integers.

        Args:
            batch: (B, bands, H, W) a sensor, equal H and W.
            inputs: not needed: values stay as they are.
            draws: CPU generator.
        """
        shared = _window(batch, self.crop, draws)
        windows = {
            kind: shared if self.shared_crop else _window(batch, self.crop, draws) for kind in batch
        }
        turn = _Turn.draw(len(shared[0]), self.flips, draws)
        return {kind: _gather(bands, *turn(*windows[kind])) for kind, bands in batch.items()}


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

    def __call__(
        self, batch: Batch, inputs: Mapping[Sensor, InputSpec], draws: torch.Generator
    ) -> Batch:
        """Views (2B, bands, crop, crop) a sensor: the first of all samples, then the second.

        Args:
            batch: (B, bands, H, W) a sensor, equal H and W.
            inputs: units and statistics of the bands.
            draws: CPU generator.

        Returns:
            The store's integers, or float32 on their scale where values were changed.
        """
        halves = [self._windows(batch, draws) for _ in range(2)]
        views = {kind: torch.cat([half[kind] for half in halves]) for kind in batch}
        if self.jitter == 0:
            return views
        return {s: _photometric(views[s], inputs[s], self.jitter, draws) for s in inputs}

    def _windows(self, batch: Batch, draws: torch.Generator) -> Batch:
        window = _zoomed_window(batch, self.crop, self.min_scale, draws)
        turn = _Turn.draw(len(window[0]), self.flips, draws)
        return {kind: _gather(bands, *turn(*window)) for kind, bands in batch.items()}


Window = tuple[Tensor, Tensor]
"""The lines and columns that it takes, (B, crop) each."""


def _window(batch: Batch, crop: int, draws: torch.Generator) -> Window:
    size, height, width = _shape(batch)
    top = torch.randint(height - crop + 1, (size, 1), generator=draws)
    left = torch.randint(width - crop + 1, (size, 1), generator=draws)
    return top + torch.arange(crop), left + torch.arange(crop)


def _zoomed_window(batch: Batch, crop: int, min_scale: float, draws: torch.Generator) -> Window:
    """A window of random area and aspect ratio, brought to `crop` lines and columns.

    Ratios are drawn from those of which the window is no larger than the view, so an area of one
    leaves a plain crop.
    """
    size, height, width = _shape(batch)
    area, ratio, down, right = torch.rand(4, size, 1, generator=draws, dtype=torch.float64)
    area = min_scale + (1 - min_scale) * area
    widest = area.reciprocal().clamp(max=ASPECT).log()
    ratio = (widest * (2 * ratio - 1)).exp()
    tall, wide = (
        (crop * (area * factor).sqrt()).round().clamp(1, crop) for factor in (1 / ratio, ratio)
    )
    top, left = (down * (height - tall + 1)).floor(), (right * (width - wide + 1)).floor()
    return _lines(top, tall, crop), _lines(left, wide, crop)


def _lines(start: Tensor, length: Tensor, crop: int) -> Tensor:
    """`crop` lines of the `length` from `start` on, the nearest to equal steps; (B, crop)."""
    step = 2 * torch.arange(crop) + 1
    return start.long() + step * length.long() // (2 * crop)


@dataclass(frozen=True)
class _Turn:
    """One of the eight flips and rotations of the square a sample, (B, 1, 1) each."""

    mirror_y: Tensor
    mirror_x: Tensor
    transpose: Tensor

    @classmethod
    def draw(cls, size: int, flips: bool, draws: torch.Generator) -> _Turn:
        return cls(*(torch.rand(3, size, 1, 1, generator=draws) < 0.5 * flips))

    def __call__(self, ys: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Lines and columns of a window, (B, crop), to those of every pixel, (B, crop, crop)."""
        crop = ys.shape[1]
        ys = torch.where(self.mirror_y[..., 0], ys.flip(1), ys)[:, :, None].expand(-1, -1, crop)
        xs = torch.where(self.mirror_x[..., 0], xs.flip(1), xs)[:, None, :].expand(-1, crop, -1)
        ys = torch.where(self.transpose, ys.transpose(1, 2), ys)
        return ys, torch.where(self.transpose, xs.transpose(1, 2), xs)


def _shape(batch: Batch) -> tuple[int, int, int]:
    size, _, height, width = next(iter(batch.values())).shape
    return size, height, width


def _gather(bands: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    sample = torch.arange(len(bands), device=bands.device)[:, None, None]
    pixels = bands.movedim(1, -1)[sample, ys.to(bands.device), xs.to(bands.device)]
    return pixels.movedim(-1, 1)


@dataclass(frozen=True)
class _Light:
    """What becomes of the values of every sample.

    Attributes:
        gain: factor of every band, (B, C, 1, 1).
        contrast: factor of what differs from the mean, (B, 1, 1, 1).
        grey: whether colour goes, (B, 1, 1, 1).
        blur: sd in pixels, 0 for none, (B, 1, 1, 1).
    """

    gain: Tensor
    contrast: Tensor
    grey: Tensor
    blur: Tensor

    @classmethod
    def draw(cls, size: int, bands: int, jitter: float, draws: torch.Generator) -> _Light:
        def uniform(channels: int = 1) -> Tensor:
            return torch.rand(size, channels, 1, 1, generator=draws)

        brightness, band_gain, contrast = (
            1 + jitter * most * (2 * uniform(channels) - 1)
            for most, channels in ((BRIGHTNESS, 1), (BAND_GAIN, bands), (CONTRAST, 1))
        )
        least, most = BLUR_PIXELS
        blur = torch.where(uniform() < BLUR, least + (most - least) * uniform(), 0.0)
        return cls(brightness * band_gain, contrast, uniform() < GREY, blur)

    def to(self, device: torch.device) -> _Light:
        parts = (self.gain, self.contrast, self.grey, self.blur)
        return _Light(*(part.to(device) for part in parts))


def _photometric(stored: Tensor, spec: InputSpec, jitter: float, draws: torch.Generator) -> Tensor:
    """Other light, other gains, sometimes no colour, sometimes out of focus.

    Args:
        stored: integers (B, C, H, W).
        spec: of these bands.
        jitter: strength from 0 to 1.
        draws: CPU generator.

    Returns:
        float32 on the scale of the integers; no data stays as it is.
    """
    size, bands = stored.shape[:2]
    light = _Light.draw(size, bands, jitter, draws).to(stored.device)
    storage = spec.modality.storage
    # contiguous: the blur multiplies matrices of one band each
    raw = stored.float().contiguous()
    valid = (raw != storage.nodata).float()
    low, high = (bound / storage.step for bound in spec.modality.valid_range)
    values = raw.clamp(low, high)
    if spec.modality.units in ("dB", "linear"):  # both are stored as dB
        values = values + 10 / storage.step * light.gain.log10()
    else:
        values = values * light.gain
    centre = _mean_of_valid(values, valid, (2, 3))
    values = centre + light.contrast * (values - centre)
    values = torch.where(light.grey, _without_colour(values, valid, spec), values)
    return torch.where(valid.bool(), _blurred(values, valid, light.blur), raw)


def _without_colour(values: Tensor, valid: Tensor, spec: InputSpec) -> Tensor:
    """In every band what the bands show on average, each in units of its own deviation."""
    step = spec.modality.storage.step
    mean, sd = (
        torch.tensor(v, device=values.device).view(1, -1, 1, 1) / step for v in (spec.mean, spec.sd)
    )
    return mean + sd * _mean_of_valid((values - mean) / sd, valid, (1,))


def _mean_of_valid(values: Tensor, valid: Tensor, dims: tuple[int, ...]) -> Tensor:
    count = valid.sum(dims, keepdim=True).clamp_min(1)
    return (values * valid).sum(dims, keepdim=True) / count


def _blurred(values: Tensor, valid: Tensor, width_B111: Tensor) -> Tensor:
    """Gaussian mean of the valid pixels around each, with an sd of its own a sample, in pixels."""
    side = torch.arange(values.shape[2], device=values.device)
    squares = (side[:, None] - side).square()
    at = width_B111.flatten().nonzero()[:, 0]  # half of them: blurring is most of a view's cost
    kernel = torch.exp(-squares / (2 * width_B111[at].square()))  # (b, 1, P, P)
    known, whole = valid[at], bool(valid.all())
    weights = kernel @ (known[:, :1] if whole else known) @ kernel
    means = kernel @ (values[at] * known) @ kernel / weights.clamp_min(1e-6)
    return values.index_copy(0, at, means)
