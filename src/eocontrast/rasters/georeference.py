"""Where raster files say that they lie."""

from __future__ import annotations

from dataclasses import dataclass

from rasterio.crs import CRS
from rasterio.io import DatasetReader


@dataclass(frozen=True)
class Place:
    """The ground that a file covers.

    `bounds` are left, bottom, right and top, `pixel` the length of a pixel's side, both in the
    units of `crs`, which many files lack.
    """

    crs: CRS | None
    bounds: tuple[float, float, float, float]
    pixel: float


def named_place(raster: DatasetReader) -> list[Place]:
    """Where an open raster lies; nothing where it does not say."""
    if raster.transform.is_identity:
        return []
    left, bottom, right, top = raster.bounds
    return [Place(raster.crs, (left, bottom, right, top), abs(raster.transform.a))]
