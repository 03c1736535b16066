"""Raster files that tests write."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning


def write_raster(
    path: Path, bands: NDArray[np.generic], driver: str = "GTiff", **attributes: object
) -> Path:
    """Write bands of shape (bands, H, W); `attributes` are those of an open raster."""
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, dtype=bands.dtype, **shape) as raster:
            for name, value in attributes.items():
                setattr(raster, name, value)
            raster.write(bands)
    return path


def noise(*shape: int) -> NDArray[np.uint8]:
    """Draw bytes from 0 to 254."""
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
