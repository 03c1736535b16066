"""Random windows of a batch, on the device that the batch lives on.

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


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch that ranks share: each draws for all and keeps those of its own.

    So a view is a function of the draws and of the sample's place in the batch, on any number of
    ranks.

    Attributes:
        source: a CPU generator, the same on all ranks.
        rank: which of them this is.
        ranks: how many they are.
    """

    source: torch.Generator
    rank: int = 0
    ranks: int = 1

    def uniform(
        self, parts: int, size: int, *shape: int, dtype: torch.dtype | None = None
    ) -> Tensor:
        """`parts` independent numbers from 0 to 1 for each of this rank's samples.

        Args:
            parts: first dimension.
            size: samples of this rank.
            shape: of what each gets.
            dtype: torch's default where None.

        Returns:
            (parts, size, *shape)
        """
        drawn = torch.rand(parts, size * self.ranks, *shape, generator=self.source, dtype=dtype)
        return drawn[:, self.rank :: self.ranks]

    def below(self, end: int, size: int) -> Tensor:
        """An integer from 0 to `end` - 1 for each of this rank's samples, (size, 1)."""
        drawn = torch.randint(end, (size * self.ranks, 1), generator=self.source)
        return drawn[self.rank :: self.ranks]


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
    return PairViews(crop, flips, shared_crop=True)(batch, {}, Draws(draws))


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

    def __call__(self, batch: Batch, inputs: Mapping[Sensor, InputSpec], draws: Draws) -> Batch:
        """Views (B, bands, crop, crop) a sensor, in the store's integers.

        Args:
            batch: (B, bands, H, W) a sensor, equal H and W.
            inputs: not needed: values stay as they are.
            draws: of this batch.
        """
        shared = random_window(batch, self.crop, draws)
        windows = dict.fromkeys(batch, shared)
        if not self.shared_crop:
            windows = {kind: random_window(batch, self.crop, draws) for kind in batch}
        turn = Turn.draw(len(shared[0]), self.flips, draws)
        return {kind: gather(bands, *turn(*windows[kind])) for kind, bands in batch.items()}


Window = tuple[Tensor, Tensor]
"""The lines and columns that it takes, (B, crop) each."""


def random_window(batch: Batch, crop: int, draws: Draws) -> Window:
    """A window of `crop` lines and columns anywhere in each sample."""
    size, height, width = shape_of(batch)
    top, left = draws.below(height - crop + 1, size), draws.below(width - crop + 1, size)
    return top + torch.arange(crop), left + torch.arange(crop)


@dataclass(frozen=True)
class Turn:
    """One of the eight flips and rotations of the square a sample, (B, 1, 1) each."""

    mirror_y: Tensor
    mirror_x: Tensor
    transpose: Tensor

    @classmethod
    def draw(cls, size: int, flips: bool, draws: Draws) -> Turn:
        """One a sample, or none that changes anything without `flips`."""
        return cls(*(draws.uniform(3, size, 1, 1) < 0.5 * flips))

    def __call__(self, ys: Tensor, xs: Tensor) -> tuple[Tensor, Tensor]:
        """Lines and columns of a window, (B, crop), to those of every pixel, (B, crop, crop)."""
        crop = ys.shape[1]
        ys = torch.where(self.mirror_y[..., 0], ys.flip(1), ys)[:, :, None].expand(-1, -1, crop)
        xs = torch.where(self.mirror_x[..., 0], xs.flip(1), xs)[:, None, :].expand(-1, crop, -1)
        ys = torch.where(self.transpose, ys.transpose(1, 2), ys)
        return ys, torch.where(self.transpose, xs.transpose(1, 2), xs)


def shape_of(batch: Batch) -> tuple[int, int, int]:
    """Samples, height and width."""
    size, _, height, width = next(iter(batch.values())).shape
    return size, height, width


def gather(bands: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """The pixels of (B, C, H, W) at lines and columns (B, crop, crop), channels last in memory."""
    sample = torch.arange(len(bands), device=bands.device)[:, None, None]
    pixels = bands.movedim(1, -1)[sample, ys.to(bands.device), xs.to(bands.device)]
    return pixels.movedim(-1, 1)
