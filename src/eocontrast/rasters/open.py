"""Open raster files safely.

Paths come from manifests that others wrote, so only plain raster formats are opened, and a VRT
only if it takes its pixels from such files beside it: `/vsicurl/` could name any address.
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
from rasterio.enums import MaskFlags
from rasterio.env import getenv, hasenv
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.rasters.cures import cure
from eocontrast.rasters.virtual import VirtualSource, virtual_sources
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import find_hint

# name plain formats: others may point to files, addresses or scripts (docs/reliability.md)
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


Fault = Literal["unreadable", "bands", "units", "size", "dtype", "georeference", "mask"]


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
    sources = _virtual_sources(path)
    with gdal_settings(), warnings.catch_warnings():
        # patches without georeference are welcome: the manifest says which belong together
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # rasterio.open takes one driver only
            drivers = ["VRT"] if sources else list(DRIVERS)
            raster = DatasetReader(path.absolute(), driver=drivers)
        except RasterioIOError as error:
            message = f"{path} cannot be read as {', '.join(DRIVERS)}: {error}; {cure(path)}"
            raise RasterError("unreadable", message) from error
    try:
        _check_file(path, raster)
        for source in sources:
            _check_source(path, raster, source)
    except RasterError:
        raster.close()
        raise
    return raster


def source_files(path: Path) -> list[Path]:
    """Return the file itself, or the files that a VRT takes its pixels from.

    Raises:
        RasterError: the VRT cannot be read.
    """
    sources = dict.fromkeys(source.file for source in _virtual_sources(path))
    return [file for source in sources for file in source_files(source)] or [path]


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


_DEEPEST = 2
"""VRTs behind a VRT, as in a stack of mosaics; files that name each other have no end."""


def _virtual_sources(path: Path, above: int = 0) -> list[VirtualSource]:
    """Return the sources of a VRT, none of other files; `above` VRTs take pixels from it."""
    if path.suffix.lower() != ".vrt":
        return []
    try:
        if above > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} VRTs lie behind each other")
        sources = virtual_sources(path)
        if path.absolute() in [source.file for source in sources] or not sources:
            raise ValueError("it takes its pixels from no other file")
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read as VRT: {error}; write it as GeoTIFF (gdal_translate)"
        raise RasterError("unreadable", message) from error
    for file in dict.fromkeys(source.file for source in sources):
        _virtual_sources(file, above + 1)
    return sources


def _check_source(path: Path, raster: DatasetReader, source: VirtualSource) -> None:
    """Refuse a VRT that does not pass on what the header of its source says about the values."""
    with open_raster(source.file) as other:
        if not (source.band and source.number):
            return
        lost = _lost(raster, other, source)
    if lost:
        message = f"{path} drops {lost} of {source.file}, so its values would be misread"
        raise RasterError("unreadable", f"{message}; write it again by gdalbuildvrt")


def _lost(raster: DatasetReader, other: DatasetReader, source: VirtualSource) -> str:
    """Return what a VRT drops of a source; empty if nothing."""
    band, number = source.band - 1, source.number - 1
    shown, own = ((r.scales[n], r.offsets[n]) for r, n in ((raster, band), (other, number)))
    # a VRT may declare what its source does not
    if not source.scaled and own != (1, 0) and shown != own:
        return f"scale {own[0]:g} and offset {own[1]:g}"
    void, left = other.nodatavals[number], raster.nodatavals[band]
    kept = left is not None and any(_same(void, value) for value in (source.nodata, left))
    if void is not None and not kept:
        return f"the no-data value {void:g}"
    flags = other.mask_flag_enums[number], raster.mask_flag_enums[band]
    hidden, shows = (MaskFlags.per_dataset in f and MaskFlags.alpha not in f for f in flags)
    return "the mask" if hidden and not (shows or (source.masked and left is not None)) else ""


def _same(number: float | None, other: float | None) -> bool:
    if number is None or other is None:
        return False
    # match NaN with NaN, which equals nothing, not even itself
    return number == other or (number != number and other != other)


def _check_file(path: Path, raster: DatasetReader) -> None:
    """Refuse pixels in foreign files, unknown places, complex values and truncated raw files."""
    if any(dtype.startswith("complex") for dtype in raster.dtypes):
        raise RasterError(
            "dtype", f"{path}: complex values, expected real ones such as dB; convert it"
        )
    _refuse_pages(path, raster)
    if raster.transform.is_identity and (raster.gcps[0] or raster.rpcs):
        # they may turn the image, so an equal number of pixels proves nothing
        points = "ground control points" if raster.gcps[0] else "rational polynomials"
        message = f"{path} lies by {points}, expected a transform; bring it to a grid by gdalwarp"
        raise RasterError("georeference", message)
    if raster.driver == "HFA":
        # an Erdas file may keep its pixels in another file, which must be its own
        own = {f"{path.name}{sidecar}" for sidecar in (".aux.xml", ".msk", ".ovr")}
        for other in map(Path, raster.files):
            if other.name in own:  # statistics, masks and overviews, as QGIS writes them
                continue
            if other.parent != path.absolute().parent or other.stem != path.stem:
                message = f"{path} takes its pixels from {other}, expected its own; convert it"
                raise RasterError("unreadable", message)
    if raster.driver == "ENVI":
        # GDAL reads zeros past the end of a raw file
        pixel = sum(np.dtype(dtype).itemsize for dtype in raster.dtypes)
        start = int(raster.tags(ns="ENVI").get("header_offset", 0))
        expected, size = start + raster.height * raster.width * pixel, path.stat().st_size
        if size < expected:
            message = f"{path}: {size} bytes, its header promises {expected}; fetch it again"
            raise RasterError("unreadable", message)


def _refuse_pages(path: Path, raster: DatasetReader) -> None:
    """Refuse a TIFF of several images, of which GDAL reads the first."""
    if raster.driver != "GTiff" or not raster.subdatasets:
        return
    # smaller pages are previews, or overviews that are not marked as such
    pages = raster.tags(ns="SUBDATASETS").values()
    count = sum(f"({raster.width}P x {raster.height}L x" in text for text in pages)
    if count > 1:
        message = f"{path} holds {count} images (pages), expected one with all bands; extract one "
        raise RasterError("unreadable", f"{message}(gdal_translate GTIFF_DIR:1:...), or stack them")
