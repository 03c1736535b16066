"""Read the rasters behind one cell of a manifest."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from eocontrast.modalities import Modality
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.image import SensorImage, open_image
from eocontrast.rasters.values import AUTOMATIC, Declared, Missing, Statement


@dataclass(frozen=True)
class Raster:
    """Values and grids of the files behind one cell of a manifest.

    Attributes:
        values: (bands, H, W), NaN for no data. They keep the type of the file unless a pixel is
            missing, a scale is declared, or a band was resampled: copies cost more than reading.
        grids: Grid of each resolution.
        missing: Number of missing pixels by reason, before any resampling.
        offset: Offset that somebody states; None if nobody does.
        turned: Whether rows or columns of a file were reversed.
        unknown: Descriptions that look like names of bands but are not known.
        nodata: No-data value that the header of a mask declares; None if it declares none.
    """

    values: NDArray[Any]
    grids: tuple[Grid, ...]
    missing: Missing = field(default_factory=Missing)
    offset: Statement | None = None
    turned: bool = False
    unknown: tuple[str, ...] = ()
    nodata: float | None = None


def bands_size(
    path: str | Path, modality: Modality, declared: Declared = AUTOMATIC
) -> tuple[int, int]:
    """Return height and width in pixels that `read_raster` will give, from headers alone.

    Raises:
        RasterError: a file is missing or unreadable, or its bands are not those of the modality.
    """
    with _open(path, modality, declared) as image:
        return image.size


def read_raster(path: str | Path, modality: Modality, declared: Declared = AUTOMATIC) -> Raster:
    """Read all bands in the modality's units, with the grid of each resolution.

    Raises:
        RasterError: a file is missing, truncated or unreadable, or its bands are not those of the
            modality.
    """
    missing = Missing()
    with _open(path, modality, declared) as image:
        values = image.upsampled().read(missing=missing)
        return Raster(values, image.grids, missing, image.offset, image.turned, image.unknown)


def _open(
    path: str | Path, modality: Modality, declared: Declared
) -> AbstractContextManager[SensorImage]:
    return open_image(path, modality.bands, modality.units, files=declared, declared=True)
