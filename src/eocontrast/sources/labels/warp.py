"""A label raster of any CRS and resolution, brought to the grid of a patch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from eocontrast.rasters.files import whole_window
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.masks import check_mask, class_values
from eocontrast.rasters.open import gdal_settings, open_raster
from eocontrast.rasters.resample import source_window
from eocontrast.runtime.errors import UserError

SUFFIXES = (".tif", ".tiff", ".img", ".jp2", ".png")
"""Suffixes of files that are opened as label rasters."""


class LabelRaster:
    """One raster of class values for the whole area, under the rules for masks.

    Args:
        path: The raster.
        classes: Value by the name of the class; empty if they are to be found.

    Raises:
        UserError: it cannot be opened, has no CRS, or its header shows that it holds no classes.
    """

    def __init__(self, path: Path, classes: Mapping[str, int] = MappingProxyType({})) -> None:
        self.path, self.classes = path, classes
        with gdal_settings(), open_raster(path) as raster:
            check_mask(path, raster, classes)
            self.grid = Grid.of(raster)
            if not self.grid.located:
                raise UserError(
                    f"{path} does not say where it lies; give it a CRS and a transform, for "
                    "example with `gdal_translate -a_srs EPSG:32632 -a_ullr ...`"
                )
            self.colours: dict[int, str] = {}
            if raster.colorinterp[0] == ColorInterp.palette:
                table = raster.colormap(1)
                self.colours = {value: f"#{bytes(rgb[:3]).hex()}" for value, rgb in table.items()}

    def draw(self, grid: Grid) -> NDArray[np.int64]:
        """Return the class value nearest to each pixel's centre, -1 without data.

        Raises:
            RasterError: the file is damaged or holds values that are not whole numbers.
        """
        # float64 holds every class value of 32 bits exactly, and -1
        drawn = np.full((grid.height, grid.width), -1.0)
        needed = source_window(self.grid, grid)
        if needed is None:
            return drawn.astype(np.int64)
        with gdal_settings(), open_raster(self.path) as raster:
            values = class_values(self.path, raster, Window.from_slices(*needed), self.classes)
        part = self.grid.part(*needed)
        reproject(
            values[0].astype(np.float64),
            drawn,
            src_transform=part.transform,
            src_crs=part.crs,
            src_nodata=-1,
            dst_transform=grid.transform,
            dst_crs=grid.crs,
            dst_nodata=-1,
            resampling=Resampling.nearest,  # a mean of two classes would be a third one
        )
        return drawn.astype(np.int64)

    def values(self) -> NDArray[np.int64]:
        """Return all class values of the raster, sorted, without -1 for no data.

        Raises:
            RasterError: the file is damaged or holds values that are not whole numbers.
        """
        with gdal_settings(), open_raster(self.path) as raster:
            values = class_values(self.path, raster, whole_window(raster))
        held: NDArray[np.int64] = np.unique(values).astype(np.int64)
        return np.setdiff1d(held, [-1])
