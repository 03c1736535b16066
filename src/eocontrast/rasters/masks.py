"""Masks: rasters of class values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.rasters.bands import alpha_band
from eocontrast.rasters.categories import contradiction, named_values
from eocontrast.rasters.files import BandFile, whole_window
from eocontrast.rasters.fill import IMPOSSIBLE
from eocontrast.rasters.grids import Grid, reversed_axes
from eocontrast.rasters.open import RasterError, gdal_settings, open_raster, source_files
from eocontrast.rasters.read import Raster
from eocontrast.rasters.values import Missing, Reason, mark_missing

MaskKind = Literal["values", "one_hot"]
"""Class values in one band, or one band per class."""

_COLOURS = {ColorInterp.red, ColorInterp.green, ColorInterp.blue}


Classes = Mapping[str, int]
"""Value by the name of the class."""

_NONE: Classes = MappingProxyType({})


def mask_size(path: Path, classes: Classes = _NONE, kind: MaskKind = "values") -> tuple[int, int]:
    """Return height and width of a mask in pixels, from its header alone.

    Args:
        path: The mask.
        classes: Value by the name of the class.
        kind: As in `read_mask_raster`.

    Raises:
        RasterError: it cannot be opened, or its header shows that it holds no class values.
    """
    with open_raster(path) as raster:
        check_mask(path, raster, classes, kind)
        return raster.height, raster.width


def read_mask_raster(path: Path, classes: Classes = _NONE, kind: MaskKind = "values") -> Raster:
    """Read the class values; pixels without data are -1, which is no class value.

    Args:
        path: The mask.
        classes: Value by the name of the class.
        kind: Class values in one band, or one band per class. Descriptions that name all classes
            tell which is which; without them, bands are in the order of `classes`.

    Raises:
        RasterError: it cannot be read, its header shows that it holds no class values, or it holds
            values that are not whole numbers.
    """
    with gdal_settings(), open_raster(path) as raster:
        check_mask(path, raster, classes, kind)
        if kind == "one_hot":
            return _read_one_hot(path, raster, classes)
        missing = Missing()
        values = class_values(path, raster, whole_window(raster), classes, missing)
        grids, turned = (Grid.of(raster),), any(reversed_axes(raster.transform))
        nodata = raster.nodatavals[0]
    return Raster(values, grids, missing, turned=turned, nodata=nodata)


def class_values(
    path: Path,
    raster: DatasetReader,
    window: Window,
    classes: Classes = _NONE,
    missing: Missing | None = None,
) -> NDArray[Any]:
    """Read class values of a window, (1, h, w), the first row in the north; -1 without data.

    Args:
        path: Path for messages.
        raster: An open raster that `check_mask` has passed.
        window: Part to read.
        classes: Value by the name of the class.
        missing: Takes the number of pixels without data by reason.

    Raises:
        RasterError: it holds values that are not whole numbers.
    """
    band = BandFile(path, raster, [1], alpha_band(raster, [1]))
    values, valid = band.read(window, None), band.valid(window, None)
    _refuse_fractions(path, values)
    # guess nothing if a class has such a value, 65535 for one: its pixels must stay
    guesses: tuple[Reason, ...] = () if {*classes.values()} & {*IMPOSSIBLE} else ("impossible",)
    nodata = raster.nodatavals[:1]
    values = mark_missing(values, nodata, valid, missing=missing, guesses=guesses)
    # NaN marks pixels without data; -1 survives the comparison with class values
    return np.where(np.isnan(values), -1, values) if values.dtype.kind == "f" else values


def _read_one_hot(path: Path, raster: DatasetReader, classes: Classes) -> Raster:
    """Read one band per class; pixels that no band marks are -1."""
    numbers = _class_bands(path, raster, classes)
    file = BandFile(path, raster, numbers)
    values, valid = (read(whole_window(raster), None) for read in (file.read, file.valid))
    assert values is not None
    # keep 0, which means "not this class" here, even if the header calls it no data
    void = [value for value in raster.nodatavals if value]
    present = np.isfinite(values) & ~np.isin(values, void)
    if valid is not None:
        present &= valid
    values = np.where(present, values, 0)
    odd = np.setdiff1d(values, [0, values.max()])
    marked = values != 0
    if odd.size or (marked.sum(axis=0) > 1).any():
        what = f"the value {odd[0]:g}" if odd.size else "a pixel of two classes"
        message = f"{path} holds {what}, expected 0 or one other value, and one class per pixel"
        raise RasterError("mask", f"{message}; set sources.manifest.masks to values, or mend it")
    # 64 bits hold every class value and -1
    codes = np.array([*classes.values()], np.int64)
    picked = np.where(marked.any(0), codes[marked.argmax(0)], -1)[None]
    return Raster(picked, (Grid.of(raster),), turned=any(reversed_axes(raster.transform)))


def _class_bands(path: Path, raster: DatasetReader, classes: Classes) -> list[int]:
    """Return the number of each class's band, by the descriptions or in the order of the file."""
    numbers = [*raster.indexes]  # GDAL takes the fourth of four 8-bit bands for alpha
    described = [(raster.descriptions[n - 1] or "").strip().casefold() for n in numbers]
    names = [name.casefold() for name in classes]
    if all(described.count(name) == 1 for name in names):
        return [numbers[described.index(name)] for name in names]
    if {*described} & {*names}:
        shown = ", ".join(raster.descriptions[n - 1] or "none" for n in numbers)
        message = f"{path} describes its bands as {shown}, but the classes are {', '.join(classes)}"
        raise RasterError("mask", f"{message}; name all of them alike, or none")
    if len(numbers) != len(classes):
        count = f"{len(numbers)} {'band' if len(numbers) == 1 else 'bands'}"
        message = f"{path} has {count}, expected one per class: {', '.join(classes)}"
        single = "set sources.manifest.masks to values"
        several = "describe the bands by the classes, or leave the others out"
        raise RasterError("mask", f"{message}; {single if len(numbers) == 1 else several}")
    return numbers


def _refuse_fractions(path: Path, values: NDArray[Any]) -> None:
    if values.dtype.kind != "f":
        return
    odd = values[~np.isnan(values) & ((values != np.rint(values)) | np.isinf(values))]
    if odd.size:
        message = f"{path}: a mask holds whole class values, found {odd[0]:g}; write integers"
        raise RasterError("mask", message)


def check_mask(
    path: Path, raster: DatasetReader, classes: Classes = _NONE, kind: MaskKind = "values"
) -> None:
    """Refuse files whose values cannot be class values; arguments are those of `mask_size`.

    Raises:
        RasterError: the header shows that the file holds no class values.
    """
    _refuse_lossy(path, raster)
    if kind == "one_hot":
        _class_bands(path, raster, classes)
        return
    bands = [n for n in raster.indexes if raster.colorinterp[n - 1] != ColorInterp.alpha]
    if bands != [1]:
        colours = _COLOURS & set(raster.colorinterp)
        what = "a colour picture" if colours else f"{len(bands)} bands, such as one per class"
        cure = (
            "map each colour to its class"
            if colours
            else "set sources.manifest.masks to one_hot if each band is a class, or write the "
            "class of each pixel"
        )
        message = f"{path} holds {what}, expected class values in a single band; {cure}"
        raise RasterError("mask", message)
    if wrong := contradiction(named_values(path), classes):
        message = f"{path}: {wrong} in sources.manifest.classes; correct it, or remove the names"
        raise RasterError("mask", f"{message} ({path.name}.aux.xml)")
    scale, offset = raster.scales[0], raster.offsets[0]
    if (scale, offset) != (1, 0):
        message = (
            f"{path}: its header declares scale {scale:g} and offset {offset:g}, expected class "
            "values as they are; unset both (gdal_edit.py -unsetscale -unsetoffset)"
        )
        raise RasterError("mask", message)
    nodata = raster.nodatavals[0]
    if nodata is not None and nodata in classes.values():
        raise RasterError(
            "mask",
            f"{path}: its header declares {nodata:g} as no data, but {nodata:g} is a class; "
            "unset the header's value (gdal_edit.py -unsetnodata), or the class",
        )


def _refuse_lossy(path: Path, raster: DatasetReader) -> None:
    """Refuse compression that changes values, in whatever format it is used."""
    if raster.driver == "VRT":
        for file in source_files(path):
            with open_raster(file) as source:
                _refuse_lossy(file, source)
        return
    tags = {**raster.tags(1, ns="IMAGE_STRUCTURE"), **raster.tags(ns="IMAGE_STRUCTURE")}
    compression = tags.get("COMPRESSION", raster.driver)
    # accept "LOSSLESS (possibly)", which GDAL says of some JPEG 2000 files
    reversible = tags.get("COMPRESSION_REVERSIBILITY", "LOSSLESS").startswith("LOSSLESS")
    # an error below a half leaves whole numbers as they are
    error = float(tags.get("MAX_Z_ERROR", 0))
    jpeg = compression in ("JPEG", "YCbCr JPEG")
    if jpeg or not reversible or error >= 0.5:
        raise RasterError(
            "mask",
            f"{path}: its {compression} compression changes class values; write "
            "it again from the original, as PNG or GeoTIFF (DEFLATE, LZW)",
        )
