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
# "B4, central wavelength 665 nm" is GDAL's description
_OPTICAL = re.compile(r"b(?:0?([1-9])|(1[0-2])|(8a))(?:,? central wavelength.*)?(?: \(.*\))?")
_SIDE_WORDS = {
    "mean", "median", "min", "max", "mosaic", "composite", "first", "last", "reflectance", "refl",
    "toa", "boa", "l1c", "l2a", "msi", "msil1c", "msil2a", "band", "harmonized", "jp2", "tif",
    "tiff", "10m", "20m", "60m", "asc", "desc", "ascending", "descending", "filtered",
}  # fmt: skip
"""Words beside the name of a band, such as those of reducers and of products."""
# dates as in SNAP's stacks, then tile, orbit, baseline and percentile
_SIDE_CODE = re.compile(
    r"slv\d+|\d{1,2}[a-z]{3}\d{4}|\d{8}(?:t\d{6})?|t\d{2}[a-z]{3}|r\d{3}|n\d{4}|p\d{1,2}"
)
_POLARISATIONS = {"vv", "vh", "hh", "hv"}
_RADAR_WORDS = {
    "sigma0", "gamma0", "beta0", "sigma", "gamma", "beta", "sigma0t", "gamma0t", "nought", "db",
    "linear", "power", "intensity", "amplitude", "backscatter", "rtc", "grd", "s1", "sar",
    "s1a", "s1b", "s1c", "iw", "ew", "sentinel1", "mst",
}  # fmt: skip
_SENSOR = re.compile(
    r"(?:s2[abcd]?|sentinel-?2[abcd]?)[\s_.-]+(?:sr(?:[\s_.-]+harmonized)?[\s_.-]+)?"
)
_NANOMETRES = re.compile(r"(\d{3,4}) ?nm")
_WAVELENGTHS = {
    "B01": (440, 446), "B02": (488, 495), "B03": (557, 563), "B04": (662, 668), "B05": (702, 708),
    "B06": (737, 743), "B07": (778, 786), "B08": (830, 845), "B8A": (862, 868), "B09": (940, 948),
    "B10": (1370, 1380), "B11": (1605, 1618), "B12": (2180, 2208),
}  # fmt: skip
"""Central wavelengths in nanometres that the satellites, and their documents, give a band."""


def standard_name(text: str) -> str | None:
    """Return the standard name of a band, such as B02 or VV; None for unknown names."""
    name = _SENSOR.sub("", text.strip().lower(), count=1)
    common = re.sub(r"[\s_.-]", "", name)
    if common in _COMMON:
        return _COMMON[common]
    if match := _OPTICAL.fullmatch(name):
        return _band(match)
    if match := _NANOMETRES.fullmatch(name):
        length = int(match[1])
        return next((b for b, (low, high) in _WAVELENGTHS.items() if low <= length <= high), None)
    words = [word for word in re.split(r"[\s_.,()-]+", name) if word]
    words = [w for w in words if w not in _SIDE_WORDS and not _SIDE_CODE.fullmatch(w)]
    polarisation = [word for word in words if word.removesuffix("db") in _POLARISATIONS]
    others = {word for word in words if not word.isdigit()} - {*polarisation}
    if len(polarisation) == 1 and others <= _RADAR_WORDS:
        return polarisation[0].removesuffix("db").upper()
    return _single_band(words)


def _single_band(words: Sequence[str]) -> str | None:
    """Return the only optical band that words name; None for several, or other words."""
    identifiers = [match for word in words if (match := _OPTICAL.fullmatch(word))]
    # numbers beside an identifier count images, as in Earth Engine's "0_B2"
    others = [w for w in words if not _OPTICAL.fullmatch(w) and not (identifiers and w.isdigit())]
    named = [*map(_band, identifiers), *map(_COMMON.get, others)]
    return named[0] if len(set(named)) == 1 else None


def _band(match: re.Match[str]) -> str:
    return f"B{'8A' if match[3] else f'{int(match[1] or match[2]):02d}'}"


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
    # Sentinel Hub names the band of valid pixels so
    masks = [n for n in raster.indexes if (raster.descriptions[n - 1] or "").lower() == "datamask"]
    return next(iter(masks + others), None)


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
