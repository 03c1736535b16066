"""Overlapping tiles of a scene, and the blending of predictions without seams.

A prediction near a tile's edge depends on the position of the edge. The outer quarter of an overlap
therefore has no weight, and between the quarters one tile fades into the next. A model that sees no
further than that quarter gives the same image as in one piece.
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
    """A rectangle of an image: its upper left pixel and its size in pixels."""

    row: int
    col: int
    height: int
    width: int

    def times(self, factor: int) -> Tile:
        """Return the same rectangle in pixels that are `factor` times as small."""
        return Tile(*(factor * n for n in (self.row, self.col, self.height, self.width)))


@dataclass(frozen=True)
class Tiling:
    """Tiles of an image, row by row; those at its edges are cut off there.

    Attributes:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        side: Side of a tile in pixels.
        overlap: Pixels that neighbours share, at most half a side.
        before: Rows and columns by which the first tiles begin outside the image, less than a
            stride. They let a part of an image have the tiles of the whole.

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
                f"tiles of {self.side} pixels cannot overlap by {self.overlap}: choose 0 to half "
                "of a side"
            )

    @property
    def stride(self) -> int:
        """Distance from one tile to the next in pixels."""
        return self.side - self.overlap

    def __len__(self) -> int:
        rows, cols = self._spans()
        return len(rows) * len(cols)

    def __iter__(self) -> Iterator[Tile]:
        rows, cols = self._spans()
        for top, bottom in rows:
            for left, right in cols:
                yield Tile(top, left, bottom - top, right - left)

    def batches(self, pixels: int) -> Iterator[list[Tile]]:
        """Yield neighbours of one shape with at most `pixels` together, but at least one tile."""
        # tiles at the right edge are narrower: one forward pass needs one shape
        for _, group in groupby(self, key=lambda tile: (tile.row, tile.width)):
            row = list(group)
            most = max(1, pixels // (row[0].height * row[0].width))
            yield from (row[start : start + most] for start in range(0, len(row), most))

    def _spans(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return first and end of the tiles, in rows and in columns."""
        row, col = self.before
        return self._along(self.height, row), self._along(self.width, col)

    def _along(self, size: int, before: int) -> list[tuple[int, int]]:
        # a last tile that holds only pixels of the one before it is left out
        starts = range(-before, max(size - self.overlap, 1), self.stride)
        return [(max(start, 0), min(start + self.side, size)) for start in starts]


class Blend:
    """Weighted means of overlapping tiles, returned as soon as no later tile changes them.

    It holds only the overlaps: `overlap` rows of the whole width, and as many columns of a tile.
    """

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling
        self._rise = _rise(tiling.overlap)
        self._right = self._below = torch.empty(0)

    def add(self, tile: Tile, values_CHW: Tensor) -> tuple[Tile, Tensor]:
        """Add the next tile of the tiling and return the pixels that are final now.

        Args:
            tile: Next tile.
            values_CHW: Float values of its pixels.

        Returns:
            The rectangle of final pixels, which begins where the tile does, and their values.
        """
        whole, shared = self.tiling, self.tiling.overlap
        # separable weights: those of the up to four tiles over a pixel sum to 1
        rows = self._weights(tile.row, tile.height, whole.height).to(values_CHW)
        cols = self._weights(tile.col, tile.width, whole.width).to(values_CHW)
        values = values_CHW * rows[:, None] * cols
        # columns shared with the left neighbour get its part; those shared with the right one wait
        if tile.col:
            values[:, :, :shared] += self._right
        if tile.col + tile.width < whole.width:
            alone = tile.width - shared
            self._right, values = values[:, :, alone:].clone(), values[:, :, :alone]
        # rows likewise, but over the whole width: the tiles below come a full row later
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
        """Return weights (length,) of a tile's rows or columns; those of neighbours sum to 1."""
        weights = torch.ones(length)
        if start:
            weights[: len(self._rise)] = self._rise
        if start + length < size:
            weights[length - len(self._rise) :] = self._rise.flip(0)
        return weights


def _rise(overlap: int) -> Tensor:
    """Return weights (overlap,) that rise from 0 to 1 in the middle half of an overlap."""
    quarter = overlap // 4
    steps = (torch.arange(overlap) - quarter + 0.5) / max(overlap - 2 * quarter, 1)
    # sin² rises where the other tile's weight, cos², falls: they sum to 1, with flat ends
    return torch.sin(math.pi / 2 * steps.clamp(0, 1)).square()


def cut(images_BCHW: Tensor, side: int) -> Tensor:
    """Cut images whose sides are multiples of `side` into patches.

    Returns:
        Patches (B * H/side * W/side, C, side, side), those of one image row by row.
    """
    size, bands, height, width = images_BCHW.shape
    # h and w count patches, P is their side
    split_BChPwP = images_BCHW.reshape(size, bands, height // side, side, width // side, side)
    return split_BChPwP.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
