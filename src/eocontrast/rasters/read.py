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
from eocontrast.rasters.bands import band_names, choose_bands
from eocontrast.rasters.grids import Grid, bilinear, common_size, on_grid, span
from eocontrast.rasters.open import expand, gdal_settings, open_raster, read_values
from eocontrast.rasters.values import mark_missing, to_units


@dataclass(frozen=True)
class Raster:
    """Values and grids of the files behind one cell of a manifest.

    Attributes:
        values: (bands, H, W), NaN for no data. They keep the type of the file unless a pixel is
            missing, a scale is declared, or a band was resampled: copies cost more than reading.
        grids: Grid of each file.
    """

    values: NDArray[Any]
    grids: tuple[Grid, ...]


@dataclass(frozen=True)
class BandFile:
    """An open raster and the bands to read from it.

    Attributes:
        path: Path for messages.
        raster: Open raster.
        numbers: Numbers of the bands, from 1.
        size: Height and width in pixels to which the bands are upsampled.
    """

    path: Path
    raster: DatasetReader
    numbers: list[int]
    size: tuple[int, int]

    def read(
        self, units: Units, window: Window | None, out_shape: tuple[int, int] | None
    ) -> NDArray[Any]:
        """Read values in `units`, shape (bands, h, w), NaN for no data."""
        # thinned pixels serve to look at values only: nearest neighbours of a coarse band will do
        if out_shape or self.size == self.raster.shape:
            return self._stored(units, window, out_shape)
        window = window or Window(0, 0, self.size[1], self.size[0])
        (height, width), (fine_height, fine_width) = self.raster.shape, self.size
        rows = span(window.row_off, window.height, height, fine_height)
        cols = span(window.col_off, window.width, width, fine_width)
        # the coarse window reaches one pixel beyond the fine one, so windows join without seams
        (top, bottom), (left, right) = ((axis[0][0], axis[1][-1] + 1) for axis in (rows, cols))
        coarse = Window.from_slices((top, bottom), (left, right))
        return bilinear(self._stored(units, coarse, None), rows, cols)

    def on_grid(self, stack: ExitStack, grid: Grid) -> BandFile:
        """Return the file on another grid: upsampled if it fits into it evenly, else warped.

        Raises:
            RasterError: sizes differ, and one of them has no georeference.
        """
        if grid.refines(Grid.of(self.raster)):
            return replace(self, size=(grid.height, grid.width))
        raster = on_grid(stack, self.path, self.raster, grid)
        return replace(self, raster=raster, size=raster.shape)

    def _stored(
        self, units: Units, window: Window | None, out_shape: tuple[int, int] | None
    ) -> NDArray[Any]:
        # a header has one entry per band of the file, `numbers` names those that are read
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

        A scale and an offset that a file declares are applied unless the units are digital numbers.

        Args:
            window: Part of the grid that all files share; everything if None.
            out_shape: Height and width to thin the pixels to.

        Raises:
            RasterError: a file is truncated.
        """
        parts = [file.read(self.units, window, out_shape) for file in self.files]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def upsampled(self) -> SensorImage:
        """Return the image with its coarse bands on the pixels of the finest one.

        Raises:
            RasterError: a band does not divide the finest one evenly.
        """
        size = self.size
        return replace(self, files=tuple(replace(file, size=size) for file in self.files))

    def on_grid(self, stack: ExitStack, grid: Grid) -> SensorImage:
        """Return the image on another grid, as `BandFile.on_grid` does for each file."""
        return replace(self, files=tuple(file.on_grid(stack, grid) for file in self.files))


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
    files: list[BandFile] = []
    with gdal_settings(), ExitStack() as stack:
        if "{band}" in str(path):
            chosen = choose_bands(path, declared or default, bands, optional)
            # only the files of these bands are opened: others may be missing
            for band, file in zip(chosen, expand(path, chosen), strict=True):
                raster = stack.enter_context(open_raster(file))
                band_names(file, raster, (band,), ())
                files.append(BandFile(file, raster, [1], raster.shape))
        else:
            raster = stack.enter_context(open_raster(Path(path)))
            names = band_names(Path(path), raster, declared, default)
            chosen = choose_bands(path, names, bands, optional)
            numbers = [names.index(band) + 1 for band in chosen]
            files.append(BandFile(Path(path), raster, numbers, raster.shape))
        yield SensorImage(tuple(files), chosen, units)


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
        return Raster(image.upsampled().read(), image.grids)
