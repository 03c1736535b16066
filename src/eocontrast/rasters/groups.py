"""Groups of files on one grid, read in physical units and brought to another grid."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.windows import Window

from eocontrast.modalities import Units
from eocontrast.rasters.files import BandFile
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.open import RasterError, source_files
from eocontrast.rasters.products import product_offset
from eocontrast.rasters.resample import bilinear, source_window, span, warp
from eocontrast.rasters.units import to_units
from eocontrast.rasters.values import (
    GUESSES,
    Declared,
    Missing,
    Reason,
    Statement,
    mark_missing,
    mark_shared,
)

THINNED = 1024
"""Largest side to which a raster on another grid is thinned for a look at its values."""


@dataclass(frozen=True)
class BandGroup:
    """Files whose bands lie on one grid.

    Attributes:
        files: One raster, or one per band.
        grid: Grid of the files.
        units: Units of the values.
        declared: What the user declares about the files.
        size: Height and width in pixels to which the bands are upsampled.
        guesses: Rules for no-data values that no header declares.
        target: Another grid to which the bands are warped instead.
    """

    files: tuple[BandFile, ...]
    grid: Grid
    units: Units
    declared: Declared
    size: tuple[int, int]
    guesses: Collection[Reason] = GUESSES
    target: Grid | None = None

    def read(
        self, window: Window | None, out_shape: tuple[int, int] | None, missing: Missing
    ) -> NDArray[Any]:
        """Read values in `units`, shape (bands, h, w), NaN for no data."""
        window = window or Window(0, 0, self.size[1], self.size[0])
        if self.target:
            return self._warped(window, out_shape, self.target, missing)
        coarse = (self.grid.height, self.grid.width)
        if self.size == coarse:
            return self._stored(window, out_shape, missing)
        rows = span(window.row_off, window.height, coarse[0], self.size[0])
        cols = span(window.col_off, window.width, coarse[1], self.size[1])
        # the coarse window reaches one pixel beyond the fine one, so windows join without seams
        (top, bottom), (left, right) = ((axis[0][0], axis[1][-1] + 1) for axis in (rows, cols))
        part = Window.from_slices((top, bottom), (left, right))
        # thinned pixels serve to look at values: nearest neighbours of a coarse band will do
        values = self._stored(part, out_shape, missing)
        return values if out_shape else bilinear(values, rows, cols)

    def on_grid(self, grid: Grid) -> BandGroup:
        """Return the group on another grid: upsampled if it fits into it evenly, else warped.

        Raises:
            RasterError: sizes differ, and one of them has no georeference.
        """
        size = (grid.height, grid.width)
        if self.grid.coincides(grid) or grid.refines(self.grid):
            return replace(self, size=size)
        if not (self.grid.located and grid.located):
            if (self.grid.height, self.grid.width) == size:
                raise RasterError(
                    "georeference",
                    f"{self.files[0].path} lies elsewhere than the scene by its transform, and not "
                    "both name the CRS of a map; give both a CRS (gdal_edit.py -a_srs)",
                )
            raise RasterError(
                "size",
                f"{self.files[0].path} has {self.grid.height} x {self.grid.width} pixels, the "
                f"scene {grid.height} x {grid.width}, and not both are georeferenced: give both a "
                "CRS and a transform (gdalwarp), or one size",
            )
        return replace(self, size=size, target=grid)

    def _warped(
        self, window: Window, out_shape: tuple[int, int] | None, target: Grid, missing: Missing
    ) -> NDArray[Any]:
        target = target.part(
            slice(window.row_off, window.row_off + window.height),
            slice(window.col_off, window.col_off + window.width),
        )
        if out_shape:
            target = target.resized(*out_shape)
        needed = source_window(self.grid, target)
        if needed is None:
            return np.full((self._count(), target.height, target.width), np.nan, np.float32)
        source, part = self.grid.part(*needed), Window.from_slices(*needed)
        if out_shape:
            thinned = (min(source.height, THINNED), min(source.width, THINNED))
            values = self._stored(part, thinned, missing)
            return warp(values, source.resized(*thinned), target, Resampling.nearest)
        return warp(self._stored(part, None, missing), source, target)

    def _stored(
        self, window: Window, out_shape: tuple[int, int] | None, missing: Missing
    ) -> NDArray[Any]:
        values = joined([file.read(window, out_shape) for file in self.files])
        nodata, scales, offsets = (
            [entry for file in self.files for entry in file.header(getattr(file.raster, name))]
            for name in ("nodatavals", "scales", "offsets")
        )
        valid = self._valid(window, out_shape)
        values = mark_missing(values, nodata, valid, self.declared, missing, self.guesses)
        stated = self.offset
        number = stated.number if stated else "auto"
        values = to_units(values, scales, offsets, self.units, number)
        # 8 bits leave no value to spare
        if "fill" not in self.guesses or self.files[0].bits == 8:
            return values
        return mark_shared(values, self.units, self.declared, missing)

    @property
    def offset(self) -> Statement | None:
        """Return the offset that the user states, or else the header, or else the product."""
        if self.declared.offset != "auto":
            return Statement("user", self.declared.offset)
        if any(entry for file in self.files for entry in file.header(file.raster.offsets)):
            return Statement("header", "auto")
        # skip radar: only Sentinel-2's products have ESA's offset
        if self.units not in ("DN", "reflectance"):
            return None
        path, tags = self.files[0].path, self.files[0].raster.tags()
        stated = {product_offset(file, self.units, tags) for file in source_files(path)}
        if len(stated) > 1:
            message = f"{path} joins products with and without an offset; convert one kind first"
            raise RasterError("bands", message)
        (number,) = stated
        return None if number is None else Statement("product", number)

    def _valid(self, window: Window, out_shape: tuple[int, int] | None) -> NDArray[np.bool_] | None:
        """Read the masks of all files; None if there are none, since most files have none."""
        masks = [file.valid(window, out_shape) for file in self.files]
        if all(mask is None for mask in masks):
            return None
        size = out_shape or (int(window.height), int(window.width))
        every = [
            np.ones((len(file.numbers), *size), np.bool_) if mask is None else mask
            for file, mask in zip(self.files, masks, strict=True)
        ]
        return joined(every)

    def _count(self) -> int:
        return sum(len(file.numbers) for file in self.files)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the bands of all parts, without a copy if there is one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
