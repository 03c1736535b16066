"""Pixel grids of rasters, and rasters brought to one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class Grid:
    """Where pixels lie; `transform` leads from column and row to the coordinates of `crs`."""

    crs: CRS | None
    transform: Affine
    height: int
    width: int

    @classmethod
    def of(cls, raster: DatasetReader) -> Grid:
        """The grid of an open raster."""
        return cls(raster.crs, raster.transform, raster.height, raster.width)

    @property
    def located(self) -> bool:
        """Whether the grid says which ground it covers."""
        return self.crs is not None and not self.transform.is_identity

    def coarser(self, factor: int) -> Grid:
        """Squares of `factor` pixels from the same corner; the last ones may reach beyond it."""
        height, width = math.ceil(self.height / factor), math.ceil(self.width / factor)
        return Grid(self.crs, self.transform @ Affine.scale(factor), height, width)

    def phase(self, period: int) -> tuple[int, int]:
        """Rows and columns from the corner back to a multiple of `period` pixels.

        They are counted from the origin of `crs`, which scenes that were cut from one share.
        """
        col, row = ~self.transform @ (0, 0)
        # rounded at .75: grids lie at whole or at half pixels, and .9999 is 1 in both directions
        back = (math.floor(0.25 - origin) % period for origin in (row, col))
        return next(back), next(back)

    def coincides(self, other: Grid) -> bool:
        """Whether pixels lie on each other, within a hundredth of one.

        Grids of one size of which one does not say where it lies are taken for one grid.
        """
        if (self.height, self.width) != (other.height, other.width):
            return False
        if not (self.located and other.located):
            return True
        shift = ~other.transform @ self.transform
        corners = [(0, 0), (self.width, 0), (0, self.height)]
        near = all(math.dist(shift @ corner, corner) < 0.01 for corner in corners)
        return near and bool(self.crs == other.crs)


def finest(grids: Iterable[Grid]) -> Grid:
    """The grid of the smallest pixels; of the most, where none says where it lies."""
    grids = list(grids)
    located = [grid for grid in grids if grid.located]
    if located:
        return min(located, key=lambda grid: abs(grid.transform.determinant))
    return max(grids, key=lambda grid: grid.height * grid.width)


def on_grid(stack: ExitStack, path: Path, raster: DatasetReader, grid: Grid) -> DatasetReader:
    """The raster where it lies on the grid, else a view of it that does, bilinear and float32.

    Args:
        stack: closes the view.
        path: of the raster.
        raster: open.
        grid: wanted.

    Raises:
        UserError: sizes differ, and not both say where they lie.
    """
    own = Grid.of(raster)
    if own.coincides(grid):
        return raster
    if not (own.located and grid.located):
        raise UserError(
            f"{path} has {own.height} x {own.width} pixels, the scene {grid.height} x "
            f"{grid.width}, and not both say where they lie: give both a CRS and a transform "
            "(gdalwarp), or one size"
        )
    view = WarpedVRT(
        raster,
        crs=grid.crs,
        transform=grid.transform,
        height=grid.height,
        width=grid.width,
        resampling=Resampling.bilinear,
        dtype="float32",  # for NaN: no other value is free in every file
        nodata=math.nan,
        UNIFIED_SRC_NODATA="NO",  # no data in one band is no data in that band alone
    )
    return stack.enter_context(view)
