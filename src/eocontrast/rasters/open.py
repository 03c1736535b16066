"""Open raster files safely.

Paths come from manifests that others wrote, so only plain raster formats are opened: a VRT could
name any other file of the machine, and `/vsicurl/` any address of the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import find_hint

DRIVERS = ("GTiff", "PNG", "JPEG", "JP2OpenJPEG", "ENVI", "HFA")

_OPTIONS = {
    # looks for side-car files by name: opening among 50,000 files takes 0.1 ms, 0.4 with a listing
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # thirteen interleaved bands come three times as fast from a memory map as by GDAL's blocks
    "GTIFF_VIRTUAL_MEM_IO": "YES",
    # a truncated PNG or JPEG is an error, not zero or grey pixels
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    # the only address that may be opened, and no such address exists
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
}


Fault = Literal["unreadable", "bands", "size", "dtype", "georeference", "mask"]


class RasterError(UserError):
    """A raster that cannot be used, and the audit's rule that it breaks."""

    def __init__(self, rule: Fault, message: str) -> None:
        super().__init__(" ".join(message.split()))  # GDAL breaks lines
        self.rule = rule


def gdal_settings() -> AbstractContextManager[object]:
    """Return a context with the GDAL options that all reading needs.

    Entering takes 30 us; enter it once around many files and it costs nothing within.
    """
    entered = hasenv() and _OPTIONS.items() <= getenv().items()
    return nullcontext() if entered else rasterio.Env(**_OPTIONS)


def open_raster(path: Path) -> DatasetReader:
    """Open a raster of an allowed format, to be used as a context manager.

    Raises:
        RasterError: the file is missing, damaged, complex or of another format.
    """
    if not path.is_file():
        raise RasterError("unreadable", f"{path}: no such file; {find_hint(path)}")
    with gdal_settings(), warnings.catch_warnings():
        # patches without georeference are welcome: the manifest says which belong together
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # rasterio.open takes one driver only
            raster = DatasetReader(path.absolute(), driver=list(DRIVERS))
        except RasterioIOError as error:
            raise RasterError(
                "unreadable",
                f"{path} cannot be read as {', '.join(DRIVERS)}: {error}; fetch it again, or "
                "convert it to one of these",
            ) from error
    try:
        _check_file(path, raster)
    except RasterError:
        raster.close()
        raise
    return raster


def read_values(
    path: Path,
    raster: DatasetReader,
    numbers: list[int] | None = None,
    window: Window | None = None,
    out_shape: tuple[int, int] | None = None,
) -> NDArray[Any]:
    """Read bands of an open raster as they are on disk, shape (bands, h, w).

    Args:
        path: Path for messages.
        raster: Open raster.
        numbers: Numbers of the bands, from 1; all if None.
        window: Part to read; all if None.
        out_shape: Height and width to thin the pixels to.

    Raises:
        RasterError: the file is truncated.
    """
    numbers = numbers or list(raster.indexes)
    shape = (len(numbers), *out_shape) if out_shape else None
    with _truncation(path):
        values: NDArray[Any] = raster.read(numbers, window=window, out_shape=shape)
    return values


def read_valid(
    path: Path,
    raster: DatasetReader,
    numbers: list[int],
    window: Window | None = None,
    out_shape: tuple[int, int] | None = None,
) -> NDArray[np.bool_]:
    """Read which pixels the masks of a file call valid; arguments are those of `read_values`."""
    shape = (len(numbers), *out_shape) if out_shape else None
    with _truncation(path):
        flags = raster.read_masks(numbers, window=window, out_shape=shape)
    return np.asarray(flags != 0)


@contextmanager
def _truncation(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        message = f"{path} is truncated or damaged: {error}; fetch it again"
        raise RasterError("unreadable", message) from error


def _check_file(path: Path, raster: DatasetReader) -> None:
    """Refuse pixels in foreign files, unknown places, complex values and truncated raw files."""
    if any(dtype.startswith("complex") for dtype in raster.dtypes):
        raise RasterError(
            "dtype", f"{path}: complex values, expected real ones such as dB; convert it"
        )
    if raster.transform.is_identity and (raster.gcps[0] or raster.rpcs):
        # they may turn the image, so an equal number of pixels proves nothing
        points = "ground control points" if raster.gcps[0] else "rational polynomials"
        message = f"{path} lies by {points}, expected a transform; bring it to a grid by gdalwarp"
        raise RasterError("georeference", message)
    if raster.driver == "HFA":
        # an Erdas file may keep its pixels in another file, which must be its own
        for other in map(Path, raster.files):
            if other.parent != path.absolute().parent or other.stem != path.stem:
                message = f"{path} takes its pixels from {other}, expected its own; convert it"
                raise RasterError("unreadable", message)
    if raster.driver == "ENVI":
        # GDAL reads zeros past the end of a raw file
        pixel = sum(np.dtype(dtype).itemsize for dtype in raster.dtypes)
        expected, size = raster.height * raster.width * pixel, path.stat().st_size
        if size < expected:
            message = f"{path}: {size} bytes, its header promises {expected}; fetch it again"
            raise RasterError("unreadable", message)
