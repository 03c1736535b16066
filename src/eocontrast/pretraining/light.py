"""Views in other light: gains, contrast, lost colour and blur, as light and radar cause them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.patches.augment import Draws, View
from eocontrast.patches.inputs import InputSpec

BRIGHTNESS, CONTRAST, BAND_GAIN = 0.8, 0.8, 0.2
"""Factors lie between 1 - this and 1 + this at full strength, as SimCLR's brightness, contrast and
hue do."""

GREY, BLUR = 0.2, 0.5
"""Shares of views without colour, and of blurred views (SimCLR, appendix A)."""

BLUR_PIXELS = (0.1, 1.0)
"""Range of the blur's sd in pixels. SimCLR goes up to 2 px, on images of 224."""


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
