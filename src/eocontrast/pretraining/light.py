"""Other light and other gains: what may change of an image without changing what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.patches.augment import Draws
from eocontrast.patches.inputs import InputSpec

BRIGHTNESS, CONTRAST, BAND_GAIN = 0.8, 0.8, 0.2
"""At full strength factors are drawn from 1 - this to 1 + this, as SimCLR draws brightness,
contrast and hue."""

GREY, BLUR = 0.2, 0.5
"""Shares of views without colour, and blurred (SimCLR, appendix A)."""

BLUR_PIXELS = (0.1, 1.0)
"""Sd of the blur. SimCLR draws up to 2 px, of images of 224."""


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
    def draw(cls, size: int, bands: int, jitter: float, draws: Draws) -> _Light:
        def uniform(channels: int = 1) -> Tensor:
            return draws.uniform(1, size, channels, 1, 1)[0]

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


def relit(stored: Tensor, spec: InputSpec, jitter: float, draws: Draws) -> Tensor:
    """Other light, other gains, sometimes no colour, sometimes out of focus.

    Args:
        stored: integers (B, C, H, W).
        spec: of these bands.
        jitter: strength from 0 to 1.
        draws: of this batch.

    Returns:
        float32 on the scale of the integers; no data stays as it is.
    """
    size, bands = stored.shape[:2]
    light = _Light.draw(size, bands, jitter, draws).to(stored.device)
    storage = spec.modality.storage
    # contiguous: the blur multiplies matrices of one band each
    raw = stored.float().contiguous()
    missing = raw == storage.nodata
    valid = (~missing).float() if missing.any() else None
    low, high = (bound / storage.step for bound in spec.modality.valid_range)
    values = raw.clamp(low, high)
    if spec.modality.units in ("dB", "linear"):  # both are stored as dB
        values = values + 10 / storage.step * light.gain.log10()
    else:
        values = values * light.gain
    centre = _mean_of_valid(values, valid, (2, 3))
    values = centre + light.contrast * (values - centre)
    # what is done to a part of the samples costs what it does for these
    grey, soft = (which.flatten().nonzero()[:, 0] for which in (light.grey, light.blur))
    values.index_copy_(0, grey, _without_colour(values[grey], _of(valid, grey), spec))
    values.index_copy_(0, soft, _blurred(values[soft], _of(valid, soft), light.blur[soft]))
    return values if valid is None else torch.where(missing, raw, values)


def _of(valid: Tensor | None, samples: Tensor) -> Tensor | None:
    return None if valid is None else valid[samples]


def _without_colour(values: Tensor, valid: Tensor | None, spec: InputSpec) -> Tensor:
    """In every band what the bands show on average, each in units of its own deviation."""
    step = spec.modality.storage.step
    mean, sd = (
        torch.tensor(v, device=values.device).view(1, -1, 1, 1) / step for v in (spec.mean, spec.sd)
    )
    return mean + sd * _mean_of_valid((values - mean) / sd, valid, (1,))


def _mean_of_valid(values: Tensor, valid: Tensor | None, dims: tuple[int, ...]) -> Tensor:
    """Mean of the values where `valid` is 1, of all where it is None."""
    if valid is None:
        return values.mean(dims, keepdim=True)
    count = valid.sum(dims, keepdim=True).clamp_min(1)
    return (values * valid).sum(dims, keepdim=True) / count


def _blurred(values: Tensor, valid: Tensor | None, width_B111: Tensor) -> Tensor:
    """Gaussian mean of the valid pixels around each, with an sd of its own a sample, in pixels."""
    side = torch.arange(values.shape[2], device=values.device)
    kernel = torch.exp(-(side[:, None] - side).square() / (2 * width_B111.square()))  # (B, 1, P, P)
    if valid is None:
        kernel = kernel / kernel.sum(-1, keepdim=True)
        return kernel @ values @ kernel.mT
    weights = kernel @ valid @ kernel
    return kernel @ (values * valid) @ kernel / weights.clamp_min(1e-6)
