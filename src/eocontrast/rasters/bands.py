"""Bands of a raster, found by the names in the file, by their aliases, or by position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from eocontrast.rasters.band_names import is_radar, mentioned, standard_name, standard_names
from eocontrast.rasters.open import RasterError

Value = TypeVar("Value")

_NUMBERED = re.compile(r"\D*(\d+)")
_COLOURS = {ColorInterp.red: "red", ColorInterp.green: "green", ColorInterp.blue: "blue"}
_VALID = {"datamask", "alpha", "valid", "validmask", "validpixels"}
"""Names of a band that is 0 where there is no data; Sentinel Hub's is `dataMask`."""


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
    # how a file is displayed has less weight than what the user says of it
    described = _descriptions(raster, numbers, () if ordered else order)
    names = _in_terms_of(order, described)
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
    # what the user says of one file has more weight than unknown words in it
    others = [set() if ordered else mentioned(text) for text in described]
    _refuse_contradiction(path, described, names, others, order)
    understood = all(name or not text for name, text in zip(names, described, strict=True))
    if not (ordered or declared or understood):
        shown = ", ".join(dict.fromkeys(described))
        message = f"{path} describes its bands as {shown}: no names of bands"
        raise RasterError("bands", f"{message}; {_hint(order, declared)}")
    return dict(zip(order, numbers, strict=True))


def by_expected_name(found: Mapping[str, Value], bands: tuple[str, ...]) -> dict[str, Value]:
    """Return what belongs to each band by its expected name, for which users write aliases.

    Args:
        found: Values by the users' names, such as B2 or blue.
        bands: Names of the expected bands, such as B02.
    """
    names = _in_terms_of(bands, [*found])
    pairs = zip(names, found.items(), strict=True)
    return {
        name if name in bands and names.count(name) == 1 else key: value
        for name, (key, value) in pairs
    }


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
        if {*map(is_radar, names)} == {not is_radar(bands[0])}:
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
    words = [re.sub(r"[\s_-]", "", text or "").lower() for text in raster.descriptions]
    masks = [n for n in raster.indexes if words[n - 1] in _VALID]
    return next(iter(masks + others), None)


def unknown_descriptions(raster: DatasetReader, bands: Mapping[str, int]) -> tuple[str, ...]:
    """Return the descriptions of bands if they look like names but are not known as such.

    Numbers from 1 on, equal words and a single band tell nothing.

    Args:
        raster: Open raster.
        bands: Number of each band that is read, by name.
    """
    texts = _descriptions(raster, [*bands.values()], [*bands])
    numbers = [match[1] for text in texts if (match := _NUMBERED.fullmatch(text))]
    counted = numbers == [str(number) for number in bands.values()]
    known = None not in _in_terms_of([*bands], texts)
    if known or counted or len(set(texts)) < len(texts) or len(texts) == 1:
        return ()
    return tuple(texts)


def _without_alpha(raster: DatasetReader, count: int) -> list[int]:
    """Return the numbers of the bands that hold values: an alpha band says which are valid."""
    numbers = list(raster.indexes)
    # GDAL calls the fourth of four 8-bit bands alpha, so the number of bands has the last word
    if len(numbers) == count:
        return numbers
    interpretations = zip(numbers, raster.colorinterp, raster.descriptions, strict=True)
    return [n for n, colour, text in interpretations if colour != ColorInterp.alpha or text]


def _descriptions(raster: DatasetReader, numbers: Sequence[int], order: Sequence[str]) -> list[str]:
    """Return the descriptions of bands, or else the colours of those that are told to be visible.

    GDAL calls three bands of 8 bits red, green and blue by itself, and pictures of infrared are
    shown in these colours.
    """
    # rasterio asks GDAL for all bands whenever one of them is named
    descriptions, interpretations = raster.descriptions, raster.colorinterp
    texts = [descriptions[number - 1] or "" for number in numbers]
    colours = [_COLOURS.get(interpretations[number - 1], "") for number in numbers]
    plain = raster.driver == "GTiff" and np.dtype(raster.dtypes[0]).itemsize > 1
    visible = {*colours} >= {*_COLOURS.values()} and {"B02", "B03", "B04"} <= {*order}
    return colours if plain and visible and not any(texts) else texts


def _in_terms_of(names: Sequence[str], texts: Sequence[str]) -> list[str | None]:
    """Return which of the names each description means, another standard name, or None."""
    found: list[str | None] = []
    for text, standard in zip(texts, standard_names(texts), strict=True):
        exact = [name for name in names if text.strip().casefold() == name.casefold()]
        alike = [name for name in names if standard and standard_name(name) == standard]
        if exact or len(alike) == 1:
            found.append((exact or alike)[0])
        else:
            # only whole names tell VV of two orbits apart
            found.append(None if alike else standard)
    return found


def _refuse_contradiction(
    path: Path,
    described: Sequence[str],
    names: Sequence[str | None],
    others: Sequence[set[str]],
    order: Sequence[str],
) -> None:
    """Refuse a description that names another band than the user's at its place.

    Args:
        path: Path for the message.
        described: Descriptions of the bands.
        names: Name that each description means, None for unknown words.
        others: Bands that stand somewhere in each description.
        order: Names that the user gives.
    """
    standard = [standard_name(band) or band for band in order]
    wrong = [
        band
        for name, band, usual, other in zip(names, order, standard, others, strict=True)
        if (name and name != band and names.count(name) == 1)
        or (not name and other and usual not in other and others.count(other) == 1)
    ]
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
    option = "--s1-bands" if all(map(is_radar, order)) else "--s2-bands"
    return f"name its bands in the order of the file by {option}"


def _count(numbers: Sequence[int]) -> str:
    return "1 band" if len(numbers) == 1 else f"{len(numbers)} bands"
