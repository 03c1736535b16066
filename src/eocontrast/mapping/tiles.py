"""A scene in overlapping tiles, and one image without seams of what a model says of each.

What a model says near the edge of a tile depends on where the edge lies. So the outer quarter of an
overlap counts for nothing, and between the quarters one tile goes over into the next. Where a model
sees no further than that quarter, the image is the one of a scene in one piece.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image in pixels, by its upper left one."""

    row: int
    col: int
    height: int
    width: int

    def times(self, factor: int) -> Tile:
        """The same in pixels that are `factor` times as small."""
        return Tile(*(factor * n for n in (self.row, self.col, self.height, self.width)))


@dataclass(frozen=True)
class Tiling:
    """Tiles of an image, row by row; those at its edges end there.

    Attributes:
        height: of the image in pixels.
        width: of the image in pixels.
        side: of a tile in pixels.
        overlap: pixels that neighbours share, at most half a side.
        before: rows and columns that the first tiles lack, since they begin that far outside the
            image; less than a stride. So a part of an image can have the tiles of the whole.

    Raises:
        UserError: tiles overlap by more than half.
    """

    height: int
    width: int
    side: int
    overlap: int
    before: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.overlap <= self.side or self.side < 1:
            raise UserError(
                f"tiles of {self.side} pixels cannot overlap by {self.overlap}: from 0 to half of "
                "a side is possible"
            )

    @property
    def stride(self) -> int:
        """From one tile to the next, in pixels."""
        return self.side - self.overlap

    def __len__(self) -> int:
        rows, cols = self._spans()
        return len(rows) * len(cols)

    def __iter__(self) -> Iterator[Tile]:
        rows, cols = self._spans()
        for top, below in rows:
            for left, right in cols:
                yield Tile(top, left, below - top, right - left)

    def batches(self, pixels: int) -> Iterator[list[Tile]]:
        """Neighbours of one shape, as many as have `pixels` together, but at least one."""
        for _, alike in groupby(self, key=lambda tile: (tile.row, tile.width)):
            run = list(alike)
            most = max(1, pixels // (run[0].height * run[0].width))
            yield from (run[start : start + most] for start in range(0, len(run), most))

    def _spans(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Where tiles begin and end, in rows and in columns."""
        row, col = self.before
        return self._along(self.height, row), self._along(self.width, col)

    def _along(self, size: int, before: int) -> list[tuple[int, int]]:
        # the last tile begins before what the one before it alone would show
        starts = range(-before, max(size - self.overlap, 1), self.stride)
        return [(max(start, 0), min(start + self.side, size)) for start in starts]


class Blend:
    """Weighted means where tiles overlap, given out as soon as no later tile changes them.

    It keeps the overlaps alone: `overlap` rows of the whole width, and as many columns of a tile.
    """

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling
        self._rise = _rise(tiling.overlap)
        self._right = self._below = torch.empty(0)

    def add(self, tile: Tile, values_CHW: Tensor) -> tuple[Tile, Tensor]:
        """What is final now; tiles come in the order of the tiling.

        Args:
            tile: the next one.
            values_CHW: float, what is said of its pixels.

        Returns:
            The final pixels' place, which begins where the tile does, and their values.
        """
        whole, shared = self.tiling, self.tiling.overlap
        rows = self._weights(tile.row, tile.height, whole.height).to(values_CHW)
        cols = self._weights(tile.col, tile.width, whole.width).to(values_CHW)
        values = values_CHW * rows[:, None] * cols
        if tile.col:
            values[:, :, :shared] += self._right
        if tile.col + tile.width < whole.width:
            alone = tile.width - shared
            self._right, values = values[:, :, alone:].clone(), values[:, :, :alone]
        across = slice(tile.col, tile.col + values.shape[2])
        if tile.row:
            values[:, :shared] += self._below[:, :, across]
        if tile.row + tile.height < whole.height:
            if not tile.row and not tile.col:
                self._below = values.new_zeros(len(values), shared, whole.width)
            alone = tile.height - shared
            self._below[:, :, across] = values[:, alone:]
            values = values[:, :alone]
        return Tile(tile.row, tile.col, values.shape[1], values.shape[2]), values

    def _weights(self, start: int, length: int, size: int) -> Tensor:
        """Of a tile's rows or columns, (length,); those of two tiles that overlap sum to 1."""
        weights = torch.ones(length)
        if start:
            weights[: len(self._rise)] = self._rise
        if start + length < size:
            weights[length - len(self._rise) :] = self._rise.flip(0)
        return weights


def _rise(overlap: int) -> Tensor:
    """From 0 to 1 in the middle half of an overlap, (overlap,)."""
    quarter = overlap // 4
    steps = (torch.arange(overlap) - quarter + 0.5) / max(overlap - 2 * quarter, 1)
    return torch.sin(math.pi / 2 * steps.clamp(0, 1)).square()


def cut(images_BCHW: Tensor, side: int) -> Tensor:
    """Images whose sides are multiples of `side` to patches (B * H/side * W/side, C, side, side).

    Patches of one image follow each other row by row.
    """
    size, bands, height, width = images_BCHW.shape
    apart_BChPwP = images_BCHW.reshape(size, bands, height // side, side, width // side, side)
    return apart_BChPwP.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
