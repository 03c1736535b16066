"""Random windows of a batch, on the device that its model is on.

Windows are drawn first, and no more of a patch is read than they show. One gather zooms, flips and
rotates, in the store's integers. Random numbers come from a CPU generator, so that a view is the
same on every device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.windows import Window


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


class Patches(Protocol):
    """The patches of a batch, read where a view shows them."""

    @property
    def size(self) -> int:
        """How many they are, B."""

    @property
    def side(self) -> int:
        """Of each in pixels."""

    @property
    def kinds(self) -> Collection[str]:
        """What there is of each: sensors, and `label` for classes of pixels."""

    def read(self, kind: str, window: Window) -> Tensor:
        """Stored integers of a window of each, (B, bands, side, side)."""


def random_view(patches: Patches, crop: int, flips: bool, draws: torch.Generator) -> Batch:
    """The same random window of every kind, one window a sample.

    Args:
        patches: at least as large as the window.
        crop: side of the window.
        flips: also one of the eight flips and rotations of the square.
        draws: CPU generator.

    Returns:
        (B, bands, crop, crop) a kind.
    """
    return PairViews(crop, flips, shared_crop=True)(patches, {}, Draws(draws))


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

    def __call__(self, patches: Patches, inputs: Mapping[Sensor, InputSpec], draws: Draws) -> Batch:
        """Views (B, bands, crop, crop) a kind, in the store's integers.

        Args:
            patches: of this batch.
            inputs: not needed: values stay as they are.
            draws: of this batch.
        """
        shared = random_window(patches, self.crop, draws)
        windows = dict.fromkeys(patches.kinds, shared)
        if not self.shared_crop:
            windows = {kind: random_window(patches, self.crop, draws) for kind in windows}
        views = {kind: patches.read(kind, window) for kind, window in windows.items()}
        if not self.flips:
            return views
        turn = Turn.draw(patches.size, self.flips, draws)
        lines = torch.arange(self.crop).expand(patches.size, -1)
        return {kind: gather(view, *turn(lines, lines)) for kind, view in views.items()}


def random_window(patches: Patches, crop: int, draws: Draws) -> Window:
    """A window of `crop` lines and columns anywhere in each sample."""
    room = patches.side - crop + 1
    top, left = draws.below(room, patches.size), draws.below(room, patches.size)
    return Window(top[:, 0], left[:, 0], crop)


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


def gather(windows: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """The pixels of windows (B, C, S, S) at lines and columns (B, S, S), channels last in memory.

    Rows of an array of pixels are what a CPU copies fastest: 1.5 ms for a batch of the default run,
    where indices of three dimensions take 2.
    """
    sample = torch.arange(len(windows))[:, None, None]
    rows = (sample * windows.shape[2] + ys) * windows.shape[3] + xs
    pixels = windows.contiguous(memory_format=torch.channels_last).movedim(1, -1).flatten(0, 2)
    found = pixels.index_select(0, rows.flatten().to(windows.device))
    return found.view(*rows.shape, -1).movedim(-1, 1)
