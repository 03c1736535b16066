"""Standard names of bands, such as B02 or VV, for the words that files describe them by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

# STAC's `eo` extension, earth-search and Planetary Computer
_COMMON = {
    "coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "rededge1": "B05",
    "rededge2": "B06", "rededge3": "B07", "nir": "B08", "nir08": "B8A", "nir09": "B09",
    "cirrus": "B10", "swir16": "B11", "swir22": "B12", "swir1": "B11", "swir2": "B12",
    "rededge071": "B05", "rededge075": "B06", "rededge078": "B07", "coastalaerosol": "B01",
    "aerosol": "B01", "narrownir": "B8A", "nirnarrow": "B8A", "nirbroad": "B08",
    "watervapour": "B09", "watervapor": "B09",
}  # fmt: skip
# "B4, central wavelength 665 nm" is GDAL's description
_OPTICAL = re.compile(r"b(?:0?([1-9])|(1[0-2])|(8a))(?:,? central wavelength.*)?(?: \(.*\))?")
_SIDE_WORDS = {
    "mean", "median", "min", "max", "mosaic", "composite", "first", "last", "reflectance", "refl",
    "toa", "boa", "l1c", "l2a", "msi", "msil1c", "msil2a", "band", "harmonized", "jp2", "tif",
    "tiff", "10m", "20m", "60m", "asc", "desc", "ascending", "descending", "filtered", "sharpened",
    "fre", "sre",
}  # fmt: skip
"""Words beside the name of a band, such as those of reducers and of products; FRE is of MAJA."""
# dates as in SNAP's stacks, then tile, orbit, baseline, percentile and year
_SIDE_CODE = re.compile(
    r"slv\d+|\d{1,2}[a-z]{3}\d{4}|\d{8}(?:t\d{6})?|t\d{2}[a-z]{3}|r\d{3}|n\d{4}|p\d{1,2}"
    r"|(?:19|20)\d{2}"
)
_POLARISATIONS = {"vv", "vh", "hh", "hv"}
# know SNAP's names, such as Sigma0_VV_mst_22Dec2021, where mst marks the master of a stack
_RADAR_WORDS = {
    "sigma0", "gamma0", "beta0", "sigma", "gamma", "beta", "sigma0t", "gamma0t", "nought", "db",
    "linear", "power", "intensity", "amplitude", "backscatter", "rtc", "grd", "s1", "sar",
    "s1a", "s1b", "s1c", "iw", "ew", "iw1", "iw2", "iw3", "sentinel1", "mst", "amp", "pol",
    "polarisation", "polarization", "cross", "co", "c",
}  # fmt: skip
# skip the sensor before a band, also as Earth Engine's collection S2_SR_HARMONIZED has it
_SENSOR = re.compile(
    r"(?:s2[abcd]?(?:l1c|l2a)?|sentinel-?2[abcd]?)[\s_.:-]+(?:sr(?:[\s_.-]+harmonized)?[\s_.-]+)?"
)
# Earth Engine puts the identifier of the product before the name of the band
_RADAR_PRODUCT = re.compile(
    r"s1[a-d]_\w\w_\w{4}_\w{4}_\d{8}t\d{6}_\d{8}t\d{6}_\d{6}_[0-9a-f]{6}_[0-9a-f]{4}_"
)
# ACOLITE writes rhos_665, others Rrs_665 or a bare 665.0
_LENGTH = re.compile(r"(?:rho[stw]?|rrs)?[\s_]*(\d*\.?\d+) ?(nm|nanometers|um|micrometers)?")
_BESIDE = re.compile(r"[,\s(]+\d{3,4}(?:\.\d+)? ?(?:nm|nanometers)\)?$")
_WAVELENGTHS = {
    "B01": (440, 446), "B02": (488, 495), "B03": (557, 563), "B04": (662, 668), "B05": (702, 708),
    "B06": (737, 743), "B07": (778, 786), "B08": (830, 845), "B8A": (862, 868), "B09": (940, 948),
    "B10": (1370, 1380), "B11": (1605, 1618), "B12": (2180, 2208),
}  # fmt: skip
"""Central wavelengths in nanometres that the satellites, and their documents, give a band."""
_QUANTITIES = {
    "angle", "incidenceangle", "localincidenceangle", "incidence", "coh", "coherence", "phase",
    "ratio", "stddev", "std", "variance", "count", "entropy", "ndvi", "ndwi",
}  # fmt: skip
"""Words of quantities that are computed from bands, or lie beside them."""
_RATIO = re.compile(r"(?:vv|vh|hh|hv)\s*/\s*(?:vv|vh|hh|hv)")
_LETTERS = {"r": "B04", "g": "B03", "b": "B02", "n": "B08", "nir": "B08"}
"""Letters that name bands where all of red, green and blue are there."""


def standard_names(texts: Sequence[str]) -> list[str | None]:
    """Return the standard name of each band of a file by its description."""
    letters = [text.strip().lower() for text in texts]
    if {"r", "g", "b"} <= {*letters} <= {*_LETTERS}:
        return [_LETTERS[letter] for letter in letters]
    return [standard_name(text) for text in texts]


@lru_cache(maxsize=1024)  # the files of a data set have the same descriptions
def standard_name(text: str) -> str | None:
    """Return the standard name of a band, such as B02 or VV; None for unknown names."""
    name = _RADAR_PRODUCT.sub("", text.strip().lower())
    name = _BESIDE.sub("", _SENSOR.sub("", name, count=1))
    common = re.sub(r"[\s_.-]", "", name)
    if common in _COMMON:
        return _COMMON[common]
    if match := _OPTICAL.fullmatch(name):
        return _band(match)
    if match := _LENGTH.fullmatch(name):
        length, unit = float(match[1]), match[2]
        # no wavelength of Sentinel-2 is shorter than 3 nm, so 0.665 counts micrometres
        short = unit in ("um", "micrometers") or (not unit and length < 3)
        return _by_wavelength(length * 1000 if short else length)
    words = [word for word in re.split(r"[\s_.,:/()-]+", name) if word]
    words = [w for w in words if w not in _SIDE_WORDS and not _SIDE_CODE.fullmatch(w)]
    polarisation = [word for word in words if word.removesuffix("db") in _POLARISATIONS]
    others = {word for word in words if not word.isdigit()} - {*polarisation}
    if len(polarisation) == 1 and others <= _RADAR_WORDS:
        return polarisation[0].removesuffix("db").upper()
    return _single_band(words)


def mentioned(text: str) -> set[str]:
    """Return the bands whose names stand somewhere in a description, beside any other words.

    A quantity that is no band, such as the standard deviation of VV, is returned as it is.
    """
    words = [word for word in re.split(r"[\W_]+", text.strip().lower()) if word]
    if _QUANTITIES & {*words} or _RATIO.search(text.lower()):
        return {text}
    named = {_COMMON.get(word) for word in words} | {w.upper() for w in _POLARISATIONS & {*words}}
    named |= {_band(match) for word in words if (match := _OPTICAL.fullmatch(word))}
    return {name for name in named if name}


def is_radar(name: str) -> bool:
    """Return whether a name is that of a polarisation."""
    return name.lower() in _POLARISATIONS


def _by_wavelength(length: float) -> str | None:
    return next((b for b, (low, high) in _WAVELENGTHS.items() if low <= length <= high), None)


def _single_band(words: Sequence[str]) -> str | None:
    """Return the only optical band that words name; None for several, or other words."""
    identifiers = [match for word in words if (match := _OPTICAL.fullmatch(word))]
    # numbers beside an identifier count images, as in Earth Engine's "0_B2"
    others = [w for w in words if not _OPTICAL.fullmatch(w) and not (identifiers and w.isdigit())]
    named = [*map(_band, identifiers), *map(_COMMON.get, others)]
    return named[0] if len(set(named)) == 1 else None


def _band(match: re.Match[str]) -> str:
    return f"B{'8A' if match[3] else f'{int(match[1] or match[2]):02d}'}"
