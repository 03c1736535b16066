"""Headers that contradict the declared units, or say several things about one sensor."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from rasterio.enums import MaskFlags

from eocontrast.modalities import Units
from eocontrast.rasters.files import BandFile
from eocontrast.rasters.fill import HUGE, IMPOSSIBLE
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.units import in_units
from eocontrast.rasters.values import Declared

_AMPLITUDE = {"amplitude", "amp"}


def check_headers(files: Sequence[BandFile], units: Units, declared: Declared) -> None:
    """Refuse headers that would make values wrong without a trace.

    Args:
        files: Files of all bands, one entry per band.
        units: Units that the values should have.
        declared: What the user declares about the files.

    Raises:
        RasterError: values are amplitudes, a scale is no number to multiply by or only a tag states
            it, as may be for a value of no data, or bands of one sensor differ in scale or offset.
    """
    for file in files:
        common = file.raster.tags()
        for number in file.numbers:
            tags = common | file.raster.tags(number)
            _refuse_scale(file, number, tags, units, declared)
            if declared.nodata == "auto":
                _refuse_fill(file, number, tags)
    if units in ("dB", "linear"):
        _refuse_amplitude(files, units)
    else:
        _refuse_mixture(files, units, declared)


def _refuse_scale(
    file: BandFile, number: int, tags: Mapping[str, str], units: Units, declared: Declared
) -> None:
    """Refuse a scale of 0 or NaN, and tags of netCDF's conventions that GDAL does not apply."""
    scale, offset = (entries[number - 1] for entries in (file.raster.scales, file.raster.offsets))
    if not (math.isfinite(scale) and math.isfinite(offset) and scale):
        message = f"{file.path}: scale {scale:g} and offset {offset:g} give no values"
        raise RasterError("units", f"{message}; correct the header (gdal_edit.py -scale)")
    if not {"scale_factor", "add_offset"} & {*tags}:
        return
    # fractions are decoded already, and keep the tags that they were decoded by
    if file.raster.dtypes[number - 1].startswith("float") or declared.offset != "auto":
        return
    stated = _number(tags.get("scale_factor", scale)), _number(tags.get("add_offset", offset))
    expected, applied = (in_units([a], [b], units) for a, b in (stated, (scale, offset)))
    if math.isnan(sum(stated)) or np.allclose(expected, applied, rtol=1e-6):
        return
    message = (
        f"{file.path}: its tags state scale_factor {stated[0]:g} and add_offset {stated[1]:g}, but "
        f"its header has scale {scale:g} and offset {offset:g}"
    )
    raise RasterError(
        "units", f"{message}; set both in the header (gdal_edit.py), or remove the tags"
    )


def _refuse_fill(file: BandFile, number: int, tags: Mapping[str, str]) -> None:
    """Refuse a value of no data that only a tag of netCDF's conventions states."""
    stated = [name for name in ("_FillValue", "missing_value") if name in tags]
    if not stated or file.raster.mask_flag_enums[number - 1] != [MaskFlags.all_valid]:
        return
    for name in stated:
        value = _number(tags[name])
        # 0 and what no sensor measures need no word, but any value of 8 bits may be measured
        told = value == 0 or value in IMPOSSIBLE or abs(value) > HUGE
        if math.isnan(value) or (told and not file.raster.dtypes[number - 1].endswith("int8")):
            continue
        message = f"{file.path}: its tag {name} states {value:g} as no data, but its header"
        raise RasterError(
            "units",
            f"{message} declares none; set it (gdal_edit.py -a_nodata {value:g}), or set nodata "
            "for the sensor",
        )


def _number(text: str | float) -> float:
    """Return the number that a tag holds, NaN if it holds none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _refuse_amplitude(files: Sequence[BandFile], units: Units) -> None:
    """Refuse the root of the power, whose decibels are half of the right ones."""
    for file in files:
        texts = [*file.header(file.raster.descriptions), *file.header(file.raster.units)]
        words = {word for text in texts for word in re.split(r"[\W_]+", (text or "").lower())}
        # 20 log10 of an amplitude is the decibel of its power
        if words & _AMPLITUDE and "db" not in words:
            message = f"{file.path} holds amplitudes by its header, expected {units} of power"
            raise RasterError("units", f"{message}; square them, and correct the description")


def _refuse_mixture(files: Sequence[BandFile], units: Units, declared: Declared) -> None:
    """Refuse bands that differ in scale or offset, as where a tag was set on some of them."""
    scales, shifts = in_units(
        [entry for file in files for entry in file.header(file.raster.scales)],
        [entry for file in files for entry in file.header(file.raster.offsets)],
        units,
    )
    if declared.offset != "auto":
        shifts = np.zeros_like(shifts)
    path = files[0].path
    for name, numbers in (("scale", scales), ("offset", shifts)):
        if not np.allclose(numbers, numbers[0], rtol=1e-6):
            shown = ", ".join(dict.fromkeys(f"{number:g}" for number in numbers))
            message = f"{path}: the {name} differs between bands ({shown}), expected one for all"
            raise RasterError("units", f"{message}; write it for all bands (gdal_edit.py)")
    # expect ESA's sign: metadata since baseline 04.00 state -1000, to be added to the values
    if shifts[0] > 0:
        message = f"{path}: its header adds {shifts[0]:g} to all values, expected 0 or less"
        raise RasterError("units", f"{message}; correct the header, or set offset for the sensor")
