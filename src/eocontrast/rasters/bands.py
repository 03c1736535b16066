"""Bands of a raster, found by the names in the file, by their aliases, or by position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from eocontrast.rasters.open import RasterError

# STAC's `eo` extension, earth-search and Planetary Computer
_COMMON = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05",
    "rededge2": "B06", "rededge3": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09",
    "cirrus": "B10", "swir16": "B11", "swir22": "B12", "swir1": "B11", "swir2": "B12",
    "rededge071": "B05", "rededge075": "B06", "rededge078": "B07", "coastalaerosol": "B01",
    "aerosol": "B01", "narrownir": "B8A", "nirnarrow": "B8A", "watervapour": "B09",
    "watervapor": "B09",
}  # fmt: skip
# "B4, central wavelength 665 nm" is GDAL's description, "B04_10m" that of Level-2A files
_OPTICAL = re.compile(
    r"b(?:0?([1-9])|(1[0-2])|(8a))(?:[ _-]?[126]0m)?(?:,? central wavelength.*)?(?: \(.*\))?"
)
_POLARISATIONS = {"vv", "vh", "hh", "hv"}
_RADAR_WORDS = {
    "sigma0", "gamma0", "beta0", "sigma", "gamma", "beta", "sigma0t", "gamma0t", "nought", "db",
    "linear", "power", "intensity", "amplitude", "backscatter", "rtc", "grd", "s1", "sar",
    "s1a", "s1b", "s1c", "iw", "ew", "sentinel1", "mst",
}  # fmt: skip
# SNAP adds the date to the bands of a stack: Sigma0_VV_slv1_12Mar2020
_STACK = re.compile(r"slv\d+|\d{1,2}[a-z]{3}\d{4}|\d{8}(?:t\d{6})?")
_SENSOR = re.compile(r"(?:s2[abc]?|sentinel-?2[abc]?)[\s_.-]+")


def standard_name(text: str) -> str | None:
    """Return the standard name of a band, such as B02 or VV; None for unknown names."""
    name = _SENSOR.sub("", text.strip().lower(), count=1)
    common = re.sub(r"[\s_.-]", "", name)
    if common in _COMMON:
        return _COMMON[common]
    match = _OPTICAL.fullmatch(name)
    if match:
        return f"B{'8A' if match[3] else f'{int(match[1] or match[2]):02d}'}"
    words = [word for word in re.split(r"[\s_.-]+", name) if not _STACK.fullmatch(word)]
    polarisation = [word for word in words if word in _POLARISATIONS]
    if len(polarisation) == 1 and {*words} - _POLARISATIONS <= _RADAR_WORDS:
        return polarisation[0].upper()
    return None


def band_numbers(
    path: Path,
    raster: DatasetReader,
    expected: tuple[str, ...],
    ordered: tuple[str, ...] | None = None,
    *,
    declared: bool = False,
) -> dict[str, int]:
    """Return the number of each band of a raster by name, in terms of the expected names.

    Distinct descriptions that are known names decide, whatever their order.

    Args:
        path: Path for messages.
        raster: Open raster.
        expected: Names of the bands, in the order of a file that does not describe them.
        ordered: Names that the user gives in the order of the file.
        declared: True if the user declares `expected` for files of any description.

    Raises:
        RasterError: the file has another number of bands, its descriptions contradict the user, or
            they are no names of bands and nobody gives the names.
    """
    order = ordered or expected
    numbers = _without_alpha(raster, len(order))
    described = [raster.descriptions[number - 1] or "" for number in numbers]
    names = [_in_terms_of(order, text) for text in described]
    # bands of other kinds, such as quality flags, need no known name beside the expected ones
    complete = all(names.count(name) == 1 for name in expected)
    distinct = len(set(names)) == len(names) and None not in names
    if (complete or distinct) and not ordered:
        pairs = zip(names, described, numbers, strict=True)
        return {name or text: number for name, text, number in pairs}
    if len(numbers) != len(order):
        message = f"{path} has {_count(numbers)}, expected {len(order)}: {', '.join(order)}"
        raise RasterError("bands", f"{message}{_noise(described)}; {_hint(order, declared)}")
    if len(set(order)) != len(order):
        message = f"{path}: bands are {', '.join(order)}, expected distinct names"
        raise RasterError("bands", f"{message}; {_hint(order, declared)}")
    _refuse_contradiction(path, described, names, order)
    understood = all(name or not text for name, text in zip(names, described, strict=True))
    if not (ordered or declared or understood):
        shown = ", ".join(dict.fromkeys(described))
        message = f"{path} describes its bands as {shown}: no names of bands"
        raise RasterError("bands", f"{message}; {_hint(order, declared)}")
    return dict(zip(order, numbers, strict=True))


def check_single_band(path: Path, raster: DatasetReader, band: str) -> int:
    """Return the number of the only band of a file that should hold the named one.

    Raises:
        RasterError: the file has several bands, or describes its band by another name.
    """
    return band_numbers(path, raster, (band,), (band,))[band]


def choose_bands(
    path: str | Path, names: Iterable[str], bands: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the bands to read: all of them except optional ones that the files do not hold.

    Args:
        path: Path for messages.
        names: Names of the bands in the files.
        bands: Names of the expected bands.
        optional: Names of bands that may be missing.

    Raises:
        RasterError: another band is missing, or all are.
    """
    names = list(names)
    chosen = tuple(band for band in bands if band in names or band not in optional)
    missing = [band for band in chosen if band not in names]
    if missing or not chosen:
        message = f"{path} has no band {', '.join(missing or bands)}; it has {', '.join(names)}. "
        if {*map(_is_radar, names)} == {not _is_radar(bands[0])}:
            raise RasterError("bands", f"{message}Are the images of s1 and s2 swapped?")
        raise RasterError(
            "bands",
            f"{message}{_hint(bands, False).capitalize()}. Pass --fill-bands to do without some "
            "of them",
        )
    return chosen


def alpha_band(raster: DatasetReader, numbers: Iterable[int]) -> int | None:
    """Return the number of an alpha band that is none of the given bands, which hold values."""
    pairs = zip(raster.indexes, raster.colorinterp, strict=True)
    others = [n for n, colour in pairs if colour == ColorInterp.alpha and n not in [*numbers]]
    return others[0] if others else None


def _is_radar(name: str) -> bool:
    return name.lower() in _POLARISATIONS


def _without_alpha(raster: DatasetReader, count: int) -> list[int]:
    """Return the numbers of the bands that hold values: an alpha band says which are valid."""
    numbers = list(raster.indexes)
    # GDAL calls the fourth of four 8-bit bands alpha, so the number of bands has the last word
    if len(numbers) == count:
        return numbers
    interpretations = zip(numbers, raster.colorinterp, raster.descriptions, strict=True)
    return [n for n, colour, text in interpretations if colour != ColorInterp.alpha or text]


def _in_terms_of(names: Sequence[str], text: str) -> str | None:
    """Return which of the names a description means, another standard name, or None."""
    standard = standard_name(text)
    for name in names:
        same = text.strip().casefold() == name.casefold()
        if same or (standard and standard_name(name) == standard):
            return name
    return standard


def _refuse_contradiction(
    path: Path, described: Sequence[str], names: Sequence[str | None], order: Sequence[str]
) -> None:
    """Refuse a description that is the name of another band than the user's at its place."""
    pairs = zip(names, order, strict=True)
    wrong = [name for name, band in pairs if name and name != band and names.count(name) == 1]
    if wrong:
        raise RasterError(
            "bands",
            f"{path} describes its bands as {', '.join(described)}, but they are declared as "
            f"{', '.join(order)}; correct the declaration, or the file's descriptions",
        )


def _noise(described: Sequence[str]) -> str:
    shown = ", ".join(dict.fromkeys(filter(None, described)))
    return f" (the file describes them as {shown})" if shown else ""


def _hint(order: Sequence[str], declared: bool) -> str:
    if declared:
        return "correct it, or sources.manifest in params.yaml"
    option = "--s1-bands" if all(map(_is_radar, order)) else "--s2-bands"
    return f"name its bands in the order of the file by {option}"


def _count(numbers: Sequence[int]) -> str:
    return "1 band" if len(numbers) == 1 else f"{len(numbers)} bands"
