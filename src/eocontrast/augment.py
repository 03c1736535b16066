"""Random views of a batch, on the device that the batch lives on.

One gather crops, flips and rotates: bytes are touched once, and in the store's integers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eocontrast.inputs import Batch


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
    size, height, width = _shape(batch)
    top = torch.randint(height - crop + 1, (size, 1), generator=draws)
    left = torch.randint(width - crop + 1, (size, 1), generator=draws)
    steps = torch.arange(crop)
    ys, xs = top + steps, left + steps
    mirror_y, mirror_x, transpose = torch.rand(3, size, 1, 1, generator=draws) < 0.5 * flips
    ys = torch.where(mirror_y[..., 0], ys.flip(1), ys)[:, :, None].expand(-1, -1, crop)
    xs = torch.where(mirror_x[..., 0], xs.flip(1), xs)[:, None, :].expand(-1, crop, -1)
    ys = torch.where(transpose, ys.transpose(1, 2), ys)
    xs = torch.where(transpose, xs.transpose(1, 2), xs)
    return {sensor: _gather(bands, ys, xs) for sensor, bands in batch.items()}


def _shape(batch: Batch) -> tuple[int, int, int]:
    size, _, height, width = next(iter(batch.values())).shape
    return size, height, width


def _gather(bands: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    sample = torch.arange(len(bands), device=bands.device)[:, None, None]
    pixels = bands.movedim(1, -1)[sample, ys.to(bands.device), xs.to(bands.device)]
    return pixels.movedim(-1, 1)
