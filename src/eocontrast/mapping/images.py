"""One sensor's image: which bands of which files a model takes, and what their numbers mean."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.modalities import Modality, Units
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.grids import Grid, on_grid
from eocontrast.rasters.read import expand, open_raster
from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class Image:
    """Where an image lies, and what its files may not say.

    Attributes:
        path: of one raster; or of one a band where it holds `{band}`.
        bands: names in the order of the file; its descriptions, or those that a model expects,
            where None.
        units: of the values; those that a model expects where None.
        filled: names of bands that may lack; they are no data then.
    """

    path: str
    bands: tuple[str, ...] | None = None
    units: Units | None = None
    filled: tuple[str, ...] = ()


@dataclass(frozen=True)
class BandFile:
    """An open raster, and the numbers of the bands that are read of it, from 1."""

    path: Path
    raster: DatasetReader
    numbers: list[int]

    def read(self, window: Window | None, shape: tuple[int, int] | None) -> NDArray[Any]:
        """Values as on disk, (bands, h, w), NaN for no data, in the type of the file.

        A float that holds them all where there is a pixel without data.
        """
        out_shape = (len(self.numbers), *shape) if shape else None
        try:
            values: NDArray[Any] = self.raster.read(
                self.numbers, window=window, out_shape=out_shape
            )
        except RasterioError as error:
            raise UserError(f"{self.path} is truncated or damaged: {error}") from error
        missing = self._missing(values)
        if missing.any():
            values = values.astype(np.promote_types(values.dtype, np.float32), copy=False)
            values[missing] = np.nan
        return values

    def _missing(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where pixels have the value that the header of their band names for no data."""
        missing = np.zeros(values.shape, np.bool_)
        for values_HW, missing_HW, number in zip(values, missing, self.numbers, strict=True):
            nodata = self.raster.nodatavals[number - 1]
            if nodata is not None:
                np.equal(values_HW, _as_stored(nodata, values.dtype), out=missing_HW)
        return missing


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> np.floating | float:
    """What a header names, to compare with pixels: -3.4e38 means the float32 nearest to it."""
    if dtype.kind == "f":
        return dtype.type(nodata)  # type: ignore[no-any-return]
    # integers are compared with an integer, ten times as fast as with a float
    return int(nodata) if nodata.is_integer() else nodata


@dataclass(frozen=True)
class SensorImage:
    """The bands that a model expects of a sensor, in its order.

    Attributes:
        files: that hold them.
        units: of their values.
        spec: what the model expects.
        held: which of its bands the files hold; the others are no data.
    """

    files: list[BandFile]
    units: Units
    spec: InputSpec
    held: list[int]

    def read(
        self, window: Window | None = None, shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Values in `units`, (bands, h, w), NaN for no data; integers as long as there is no need.

        A scale and an offset that a file declares are applied unless the units are digital numbers,
        as `normalise` does.

        Args:
            window: of the grid; all of it where None.
            shape: to thin the pixels to.

        Raises:
            UserError: a file is truncated.
        """
        read = self._scaled(np.concatenate([file.read(window, shape) for file in self.files]))
        size = len(self.spec.modality.bands)
        if len(self.held) == size:
            return read
        wide = np.promote_types(read.dtype, np.float32)
        values = np.full((size, *read.shape[1:]), np.nan, wide)
        values[self.held] = read
        return values

    def _scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.units == "DN":
            return values
        scales, offsets = (
            np.array(
                [getattr(file.raster, name)[n - 1] for file in self.files for n in file.numbers]
            )
            for name in ("scales", "offsets")
        )
        if (scales == 1).all() and (offsets == 0).all():
            return values
        scaled: NDArray[np.float64] = values * scales[:, None, None] + offsets[:, None, None]
        return scaled

    def encode(self, values: NDArray[Any]) -> NDArray[np.integer]:
        """Values to the integers that models take, same shape."""
        modality = self.spec.modality
        return Modality(modality.bands, self.units, modality.valid_range).encode(values)

    def on_grid(self, stack: ExitStack, grid: Grid) -> SensorImage:
        """The same, warped where it lies on another grid.

        Raises:
            UserError: a file does not say where it lies.
        """
        files = [
            BandFile(file.path, on_grid(stack, file.path, file.raster, grid), file.numbers)
            for file in self.files
        ]
        # a view of a raster has its scales
        return SensorImage(files, self.units, self.spec, self.held)


def open_image(stack: ExitStack, image: Image, spec: InputSpec) -> SensorImage:
    """The files that hold the bands that are expected.

    Raises:
        UserError: one cannot be read, other units, or a band that lacks.
    """
    by_band = "{band}" in image.path
    if by_band:
        names = image.bands or _expected(image, spec)
    else:
        raster = stack.enter_context(open_raster(Path(image.path)))
        names = _names(image, raster, spec)
    held = _held(image, names, spec)
    places = _places(image, names, spec.select(held))
    if by_band:
        paths = [expand(image.path, names)[place] for place in places]
        files = [BandFile(path, stack.enter_context(open_raster(path)), [1]) for path in paths]
    else:
        files = [BandFile(Path(image.path), raster, [place + 1 for place in places])]
    for file in files:
        if by_band and file.raster.count != 1:
            raise UserError(f"{file.path}: {file.raster.count} bands, expected one a file")
        if any(dtype.startswith("complex") for dtype in file.raster.dtypes):
            raise UserError(f"{file.path}: complex values, expected real ones such as dB")
    numbers = [spec.modality.bands.index(band) for band in held]
    return SensorImage(files, image.units or spec.modality.units, spec, numbers)


def _expected(image: Image, spec: InputSpec) -> tuple[str, ...]:
    """The bands that a file without names must hold."""
    return tuple(band for band in spec.modality.bands if band not in image.filled)


def _held(image: Image, names: tuple[str, ...], spec: InputSpec) -> list[str]:
    """The bands that are expected of the files: all but those that may lack and do."""
    held = [band for band in spec.modality.bands if band in names or band not in image.filled]
    if not held:
        raise UserError(f"{image.path}: --fill-bands names every band that is expected; leave one")
    return held


def _places(image: Image, names: tuple[str, ...], spec: InputSpec) -> list[int]:
    data = Modality(names, image.units or spec.modality.units, spec.modality.valid_range)
    try:
        return spec.channels(data)
    except UserError as error:
        told = str(error).replace("normalise.fill_bands", "--fill-bands")
        raise UserError(f"{image.path}: {told}") from error


def _names(image: Image, raster: DatasetReader, spec: InputSpec) -> tuple[str, ...]:
    """Of a raster's bands: as given, as it describes them, or as expected if so many."""
    expected = _expected(image, spec)
    if image.bands:
        if len(image.bands) != raster.count:
            raise UserError(
                f"{image.path}: {raster.count} band(s), but {len(image.bands)} are named: "
                f"{', '.join(image.bands)}"
            )
        return image.bands
    described = tuple(name for name in raster.descriptions if name)
    if len(described) == raster.count:
        return described
    if raster.count != len(expected):
        raise UserError(
            f"{image.path}: {raster.count} band(s) without names, expected {len(expected)}: "
            f"{', '.join(expected)}; say what they are by --s1-bands or --s2-bands"
        )
    return expected
