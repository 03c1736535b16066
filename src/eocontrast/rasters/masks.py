"""Masks: rasters of class values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rasterio.io import DatasetReader

from eocontrast.rasters.grids import Grid
from eocontrast.rasters.open import RasterError, gdal_settings, open_raster, read_values
from eocontrast.rasters.read import Raster
from eocontrast.rasters.values import mark_missing


def mask_size(path: Path) -> tuple[int, int]:
    """Return height and width of a mask in pixels, from its header alone.

    Raises:
        RasterError: it cannot be opened, or is a picture.
    """
    with open_raster(path) as raster:
        _check_mask(path, raster)
        return raster.height, raster.width


def read_mask_raster(path: Path) -> Raster:
    """Read the class values in band 1; pixels without data are -1, which is no class value.

    Raises:
        RasterError: it cannot be read, is a picture, or holds values that are not whole numbers.
    """
    with gdal_settings(), open_raster(path) as raster:
        _check_mask(path, raster)
        values = mark_missing(read_values(path, raster, [1]), raster.nodatavals[:1])
        grids = (Grid.of(raster),)
    if values.dtype.kind == "f":
        # NaN marks pixels without data; -1 survives the comparison with class values
        values = np.where(np.isnan(values), -1, values)
        odd = values[(values != np.rint(values)) | np.isinf(values)]
        if odd.size:
            message = f"{path}: a mask holds whole class values, found {odd[0]:g}; write integers"
            raise RasterError("mask", message)
    return Raster(values, grids)


def _check_mask(path: Path, raster: DatasetReader) -> None:
    """Refuse files whose values cannot be class values."""
    if raster.driver == "JPEG":
        message = f"{path}: a JPEG does not keep class values; use PNG or GeoTIFF"
        raise RasterError("mask", message)
    # grey with alpha has two bands, colours have three or more
    if raster.driver == "PNG" and raster.count > 2:
        message = f"{path} is a colour picture, expected class values in a single band"
        raise RasterError("mask", message)
