"""A label raster of any CRS and resolution, brought to the grid of a patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject

from eocontrast.rasters.grids import Grid
from eocontrast.rasters.open import RasterError, gdal_settings, open_raster
from eocontrast.runtime.errors import UserError

SUFFIXES = (".tif", ".tiff", ".img", ".jp2", ".png")
"""Suffixes of files that are opened as label rasters."""


class LabelRaster:
    """One raster of class values for the whole area.

    Raises:
        UserError: it cannot be opened, or has no CRS.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with gdal_settings(), open_raster(path) as raster:
            if not Grid.of(raster).located:
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
        values = np.full((grid.height, grid.width), np.nan)
        with gdal_settings(), open_raster(self.path) as raster:
            try:
                reproject(
                    rasterio.band(raster, 1),
                    values,
                    src_nodata=raster.nodata,
                    dst_transform=grid.transform,
                    dst_crs=grid.crs,
                    dst_nodata=np.nan,
                    resampling=Resampling.nearest,
                )
            except rasterio.errors.RasterioError as error:
                message = f"{self.path} is truncated or damaged: {error}; fetch it again"
                raise RasterError("unreadable", message) from error
        held = np.where(np.isnan(values), -1, values)
        if (held != np.rint(held)).any():
            odd = held[held != np.rint(held)][0]
            message = f"{self.path}: expected whole class values, found {odd:g}; write integers"
            raise RasterError("mask", message)
        return held.astype(np.int64)
