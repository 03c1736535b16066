"""Read rasters as the modality declares them; headers alone tell whether they fit.

Paths come from manifests that others wrote, so only plain raster formats are opened: a VRT could
name any other file of the machine, and `/vsicurl/` any address of the network.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.io import DatasetReader

from eocontrast.modalities import Modality
from eocontrast.rasters.georeference import Place, named_place
from eocontrast.runtime.errors import UserError

DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "ENVI", "HFA")

_OPTIONS = {
    # looks for side-car files by name: opening among 50,000 files takes 0.1 ms, 0.4 with a listing
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # thirteen interleaved bands come three times as fast from a memory map as by GDAL's blocks
    "GTIFF_VIRTUAL_MEM_IO": "YES",
    # a truncated PNG or JPEG is an error, not zero or grey pixels
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    # the one address that may be opened, which is none
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
}


Fault = Literal["unreadable", "bands", "size", "dtype", "mask"]


class RasterError(UserError):
    """A raster that cannot be used, and the audit's rule that it breaks."""

    def __init__(self, rule: Fault, message: str) -> None:
        super().__init__(" ".join(message.split()))  # GDAL breaks lines
        self.rule = rule


@dataclass(frozen=True)
class Raster:
    """Values, shape (bands, H, W), NaN where no data, and the places that its files name.

    Values have the type of the file, for copies in a wider one cost more than reading; a float that
    holds them all where there is a pixel without data, a scale, or a band on a coarser grid.
    """

    values: NDArray[Any]
    places: tuple[Place, ...]


def expand(path: str | Path, bands: tuple[str, ...]) -> list[Path]:
    """The files behind one cell of a manifest: one a band where it holds `{band}`, else itself."""
    if "{band}" not in str(path):
        return [Path(path)]
    return [Path(str(path).replace("{band}", band)) for band in bands]


def gdal_settings() -> AbstractContextManager[object]:
    """What all reading needs; who reads many files enters it once, for it takes 30 us each time."""
    entered = hasenv() and _OPTIONS.items() <= getenv().items()
    return nullcontext() if entered else rasterio.Env(**_OPTIONS)


def open_raster(path: Path) -> DatasetReader:
    """Open a raster of an allowed format; use it as a context manager.

    Raises:
        RasterError: the file is missing, damaged or of another format.
    """
    if not path.is_file():
        raise RasterError("unreadable", f"{path}: no such file; put it there, or mend its path")
    with gdal_settings(), warnings.catch_warnings():
        # patches without georeference are welcome: pairs are matched by the manifest, not by place
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # rasterio.open takes one driver only
            raster = DatasetReader(path.absolute(), driver=list(DRIVERS))
        except RasterioIOError as error:
            message = (
                f"{path} cannot be read as {', '.join(DRIVERS)}: {error}; fetch it again, or "
                "convert it to one of these"
            )
            raise RasterError("unreadable", message) from error
        _refuse_others(path, raster)
        return raster


def _refuse_others(path: Path, raster: DatasetReader) -> None:
    """An Erdas file may keep its pixels in another, which it names: that has to be its own."""
    others = [Path(name) for name in raster.files] if raster.driver == "HFA" else []
    for other in others:
        if other.parent != path.absolute().parent or other.stem != path.stem:
            raster.close()
            message = f"{path} takes its pixels from {other}, expected its own; convert it"
            raise RasterError("unreadable", message)


def bands_size(path: str | Path, modality: Modality) -> tuple[int, int]:
    """Height and width in pixels that `read_bands` will return, from the headers alone.

    Raises:
        RasterError: a file is missing or unreadable, or its bands are not those of the modality.
    """
    sizes = {}
    for file, bands in _files(path, modality):
        with open_raster(file) as raster:
            _check_bands(file, raster, bands)
            sizes[file] = (raster.height, raster.width)
    return _finest(sizes)


def read_bands(path: str | Path, modality: Modality) -> NDArray[np.float64]:
    """Values of all bands, shape (bands, H, W), as `read_raster` gives them, in one type."""
    return read_raster(path, modality).values.astype(np.float64)


def read_raster(path: str | Path, modality: Modality) -> Raster:
    """All bands in the modality's units, with the place of each file.

    With `{band}` in the path, coarse bands are brought to the finest band's grid bilinearly. A
    scale and an offset that the file declares are applied unless the units are digital numbers.

    Raises:
        RasterError: a file is missing, truncated or unreadable, or its bands are not the
            modality's.
    """
    parts, places = {}, []
    for file, bands in _files(path, modality):
        with gdal_settings(), open_raster(file) as raster:
            _check_bands(file, raster, bands)
            parts[file] = _read(file, raster, len(bands), scaled=modality.units != "DN")
            places += named_place(raster)
    size = _finest({file: (part.shape[1], part.shape[2]) for file, part in parts.items()})
    resampled = [_bilinear(part, size) for part in parts.values()]
    values = resampled[0] if len(resampled) == 1 else np.concatenate(resampled)
    return Raster(values, tuple(places))


def read_stored(file: Path, raster: DatasetReader, count: int) -> NDArray[Any]:
    """The first `count` bands of an open raster as they are on disk, shape (count, H, W).

    Raises:
        RasterError: the file is truncated.
    """
    try:
        stored: NDArray[Any] = raster.read(list(range(1, count + 1)))
    except RasterioIOError as error:
        message = f"{file} is truncated or damaged: {error}; fetch it again"
        raise RasterError("unreadable", message) from error
    return stored


def mask_size(path: Path) -> tuple[int, int]:
    """Height and width of a mask in pixels, from its header alone.

    Raises:
        RasterError: it cannot be opened, or is a picture whose values cannot be class values.
    """
    with open_raster(path) as raster:
        _check_mask(path, raster)
        return raster.height, raster.width


def read_mask_raster(path: Path) -> Raster:
    """Class values of band 1; -1, which is no class value, where there is no data.

    Raises:
        RasterError: it cannot be read, or holds values that are not whole numbers.
    """
    with gdal_settings(), open_raster(path) as raster:
        _check_mask(path, raster)
        values = _read(path, raster, 1, scaled=False)
        places = tuple(named_place(raster))
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), -1, values)
        odd = values[(values != np.rint(values)) | np.isinf(values)]
        if odd.size:
            message = f"{path}: a mask holds whole class values, found {odd[0]:g}; write integers"
            raise RasterError("mask", message)
    return Raster(values, places)


def _files(path: str | Path, modality: Modality) -> list[tuple[Path, tuple[str, ...]]]:
    """Each file behind a path and the bands that it must hold."""
    if "{band}" not in str(path):
        return [(Path(path), modality.bands)]
    files = expand(path, modality.bands)
    return [(file, (band,)) for file, band in zip(files, modality.bands, strict=True)]


def _check_bands(file: Path, raster: DatasetReader, bands: tuple[str, ...]) -> None:
    if raster.count != len(bands):
        expected = f"{len(bands)}: {', '.join(bands)}"
        message = (
            f"{file}: {raster.count} band(s), expected {expected}; mend it, or the declaration"
        )
        raise RasterError("bands", message)
    found = raster.descriptions
    if found != bands and set(found) == set(bands):
        named = ", ".join(str(name) for name in found)
        message = f"{file}: bands are {named}, declared {', '.join(bands)}; order both alike"
        raise RasterError("bands", message)
    _refuse(file, raster)


def _check_mask(path: Path, raster: DatasetReader) -> None:
    if raster.driver == "JPEG":
        message = f"{path}: a JPEG does not keep class values; use PNG or GeoTIFF"
        raise RasterError("mask", message)
    if raster.driver == "PNG" and raster.count > 2:
        message = f"{path} is a colour picture, expected class values in a single band"
        raise RasterError("mask", message)
    _refuse(path, raster)


def _finest(sizes: dict[Path, tuple[int, int]]) -> tuple[int, int]:
    """The largest size; each of the others must go into it evenly, the same both ways."""
    finest = max(sizes, key=lambda file: sizes[file])
    height, width = sizes[finest]
    for file, (h, w) in sizes.items():
        if height % h or width % w or height // h != width // w:
            raise RasterError(
                "size",
                f"{file} is {h} x {w} pixels and {finest} is {height} x {width}: the bands of one "
                "patch must cover the same ground",
            )
    return height, width


def _refuse(file: Path, raster: DatasetReader) -> None:
    if any(dtype.startswith("complex") for dtype in raster.dtypes):
        message = (
            f"{file}: complex values, expected real ones such as backscatter in dB; convert it"
        )
        raise RasterError("dtype", message)
    if raster.driver == "ENVI":
        # GDAL reads zeros past the end of a raw file
        pixel = sum(np.dtype(dtype).itemsize for dtype in raster.dtypes)
        wanted = raster.height * raster.width * pixel
        if (found := file.stat().st_size) < wanted:
            message = f"{file}: {found} bytes, its header promises {wanted}; fetch it again"
            raise RasterError("unreadable", message)


def _read(file: Path, raster: DatasetReader, count: int, scaled: bool) -> NDArray[Any]:
    """The first `count` bands, shape (count, h, w) as on disk, NaN where the file says no data."""
    values = read_stored(file, raster, count)
    missing = {
        band: absent
        for band, nodata in enumerate(raster.nodatavals[:count])
        if nodata is not None and (absent := _equal(values[band], nodata)).any()
    }
    if missing and values.dtype.kind != "f":
        values = values.astype(np.promote_types(values.dtype, np.float32))
    for band, absent in missing.items():
        values[band][absent] = np.nan
    scales, offsets = (np.array(part[:count]) for part in (raster.scales, raster.offsets))
    if scaled and ((scales != 1) | (offsets != 0)).any():
        values = values * scales[:, None, None] + offsets[:, None, None]
    return values


def _equal(values: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Where pixels have the value that a header names."""
    if values.dtype.kind == "f":
        # -3.4e38 in the header means the float32 nearest to it in the pixels
        return np.asarray(values == values.dtype.type(nodata))
    # integers are compared with an integer, ten times as fast as with a float
    return np.asarray(values == (int(nodata) if float(nodata).is_integer() else nodata))


def _bilinear(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """(bands, h, w) to (bands, H, W) on the same ground; NaN spreads to the pixels it weighs on."""
    for axis, wanted in enumerate(size, start=1):
        have = values.shape[axis]
        if have == wanted:
            continue
        # where the fine pixel centres lie between the coarse ones; beyond the outermost: constant
        where = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        low = np.floor(where).astype(np.intp)
        high = np.minimum(low + 1, have - 1)
        weight = (where - low).reshape(-1, *[1] * (2 - axis))
        values = values.take(low, axis) * (1 - weight) + values.take(high, axis) * weight
    return values
