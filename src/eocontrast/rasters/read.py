"""Read the bands of one sensor from raster files, whole or by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.bands import band_names
from eocontrast.rasters.grids import Grid, bilinear, common_size, on_grid
from eocontrast.rasters.open import RasterError, expand, gdal_settings, open_raster, read_values
from eocontrast.rasters.values import mark_missing, to_units


@dataclass(frozen=True)
class Raster:
    """Values and grids of the files behind one cell of a manifest.

    Attributes:
        values: (bands, H, W), NaN for no data. They keep the type of the file, since copies in a
            wider one cost more than reading, unless a pixel is missing, a scale is declared, or a
            band was resampled.
        grids: Grid of each file.
    """

    values: NDArray[Any]
    grids: tuple[Grid, ...]


@dataclass(frozen=True)
class BandFile:
    """An open raster and the numbers of the bands to read from it, counted from 1."""

    path: Path
    raster: DatasetReader
    numbers: list[int]

    def read(
        self, units: Units, window: Window | None, out_shape: tuple[int, int] | None
    ) -> NDArray[Any]:
        """Read values in `units`, shape (bands, h, w), NaN for no data."""
        values = read_values(self.path, self.raster, self.numbers, window, out_shape)
        nodata, scales, offsets = (
            [header[number - 1] for number in self.numbers]
            for header in (self.raster.nodatavals, self.raster.scales, self.raster.offsets)
        )
        return to_units(mark_missing(values, nodata), scales, offsets, units)


@dataclass(frozen=True)
class SensorImage:
    """Open files that hold the bands of one sensor.

    Attributes:
        files: One raster, or one per band.
        bands: Names of the bands in the order of reading.
        units: Units of the values.
    """

    files: tuple[BandFile, ...]
    bands: tuple[str, ...]
    units: Units

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Grid of each file."""
        return tuple(Grid.of(file.raster) for file in self.files)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the finest band.

        Raises:
            RasterError: another band does not divide it evenly.
        """
        return common_size({file.path: file.raster.shape for file in self.files})

    def read(
        self, window: Window | None = None, out_shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Read values in `units`, shape (bands, h, w), NaN for no data.

        Coarse bands are brought to the finest one bilinearly. A scale and an offset that a file
        declares are applied unless the units are digital numbers.

        Args:
            window: Part of the grid that all files share (see `on_grid`); everything if None.
            out_shape: Height and width to thin the pixels to.

        Raises:
            RasterError: a file is truncated, or the sizes of the bands do not fit.
        """
        parts = {file.path: file.read(self.units, window, out_shape) for file in self.files}
        if len(parts) == 1:
            return next(iter(parts.values()))
        size = common_size({path: part.shape[1:] for path, part in parts.items()})
        return np.concatenate([bilinear(part, size) for part in parts.values()])

    def on_grid(self, stack: ExitStack, grid: Grid) -> SensorImage:
        """Return the image on another grid; files that lie elsewhere are warped as they are read.

        Args:
            stack: Closes the warped views.
            grid: Grid of all bands.

        Raises:
            RasterError: a file of another size has no georeference.
        """
        warped = (replace(f, raster=on_grid(stack, f.path, f.raster, grid)) for f in self.files)
        return replace(self, files=tuple(warped))


@contextmanager
def open_image(
    path: str | Path,
    bands: tuple[str, ...],
    units: Units,
    declared: tuple[str, ...] | None = None,
    optional: tuple[str, ...] = (),
) -> Iterator[SensorImage]:
    """Open the files that hold the bands of a sensor.

    Args:
        path: One raster, or one per band if it holds `{band}`.
        bands: Names of the bands to read, in this order.
        units: Units of the values.
        declared: Names of all bands in the order of the file. If None, its descriptions count;
            without those, the file must hold exactly `bands`.
        optional: Names of bands that may be missing.

    Raises:
        RasterError: a file cannot be read, or a band is missing.
    """
    default = tuple(band for band in bands if band not in optional)
    with gdal_settings(), ExitStack() as stack:
        if "{band}" in str(path):
            chosen = _choose(path, declared or default, bands, optional)
            paths = expand(path, chosen)
            rasters = [stack.enter_context(open_raster(file)) for file in paths]
            for file, raster, band in zip(paths, rasters, chosen, strict=True):
                band_names(file, raster, (band,), ())
            files = [BandFile(*file, [1]) for file in zip(paths, rasters, strict=True)]
        else:
            raster = stack.enter_context(open_raster(Path(path)))
            names = band_names(Path(path), raster, declared, default)
            chosen = _choose(path, names, bands, optional)
            numbers = [names.index(band) + 1 for band in chosen]
            files = [BandFile(Path(path), raster, numbers)]
        yield SensorImage(tuple(files), chosen, units)


def _choose(
    path: str | Path, names: tuple[str, ...], bands: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the bands to read: all of them except optional ones that the files do not hold."""
    chosen = tuple(band for band in bands if band in names or band not in optional)
    missing = [band for band in chosen if band not in names]
    if missing or not chosen:
        raise RasterError(
            "bands",
            f"{path} has no band {', '.join(missing or bands)}; it has {', '.join(names)}. Pass "
            "--s1-bands or --s2-bands if it holds them under other names, or --fill-bands to do "
            "without some of them",
        )
    return chosen


def bands_size(path: str | Path, modality: Modality) -> tuple[int, int]:
    """Return height and width in pixels that `read_raster` will give, from headers alone.

    Raises:
        RasterError: a file is missing or unreadable, or its bands are not those of the modality.
    """
    with open_image(path, modality.bands, modality.units, modality.bands) as image:
        return image.size


def read_raster(path: str | Path, modality: Modality) -> Raster:
    """Read all bands in the modality's units, with the grid of each file.

    Raises:
        RasterError: a file is missing, truncated or unreadable, or its bands are not those of the
            modality.
    """
    with open_image(path, modality.bands, modality.units, modality.bands) as image:
        return Raster(image.read(), image.grids)
