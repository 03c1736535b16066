"""Meaning of pixel values: which are missing and why, and what the others are in their units."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.fill import any_of, equal, filled, impossible_values, shared

NoData = Literal["auto", "none"] | tuple[float, ...]
Offset = Literal["auto"] | float

Reason = Literal["nodata", "user", "mask", "nan", "fill", "impossible"]
"""Reason for a missing pixel: the header's value, the user's, mask flags, NaN, a value of fill in
all bands, or a value that no sensor gives."""

WORDS: dict[Reason, str] = {
    "nodata": "the header's no-data value",
    "user": "the value declared as no data",
    "mask": "the file's mask or alpha band",
    "nan": "NaN or infinite",
    "fill": "0 or another value of fill in all bands",
    "impossible": "a value that no sensor gives",
}

GUESSES: tuple[Reason, ...] = ("fill", "impossible")
"""Rules for values that no header declares."""


@dataclass(frozen=True)
class Declared:
    """The user's declarations about the files of one sensor.

    Attributes:
        nodata: `auto` follows the header and the rules for fill; numbers are missing too. `none`
            means that no value is missing, so that only NaN and mask flags count.
        offset: Number added to the values, in their units, such as -1000 for Sentinel-2's digital
            numbers of baseline 04.00; `auto` follows the header and the product's name.
    """

    nodata: NoData = "auto"
    offset: Offset = "auto"

    @classmethod
    def of(cls, nodata: str | float | Sequence[float], offset: Offset) -> Declared:
        """Return the declaration with one number, several, `auto` or `none` for no data."""
        if nodata in ("auto", "none"):
            return cls(nodata, offset)  # type: ignore[arg-type]
        numbers = nodata if isinstance(nodata, list | tuple) else (nodata,)
        return cls(tuple(map(float, numbers)), offset)


@dataclass(frozen=True)
class Statement:
    """An offset that somebody states.

    Attributes:
        by: Who states it.
        number: Number to add to the values in their units; `auto` for the header's, by band.
    """

    by: Literal["user", "header", "product"]
    number: Offset


AUTOMATIC = Declared()
"""The user declares nothing."""


@dataclass
class Missing:
    """Number of missing pixels by reason."""

    pixels: dict[Reason, int] = field(default_factory=dict)

    def add(self, reason: Reason, absent: NDArray[np.bool_]) -> None:
        """Count pixels of (bands, h, w) that are missing in any band."""
        count = int(np.count_nonzero(absent.any(axis=0)))
        if count:
            self.pixels[reason] = self.pixels.get(reason, 0) + count


def mark_missing(
    values: NDArray[Any],
    nodata: Sequence[float | None] = (),
    valid: NDArray[np.bool_] | None = None,
    declared: Declared = AUTOMATIC,
    missing: Missing | None = None,
    guesses: Collection[Reason] = GUESSES,
) -> NDArray[Any]:
    """Replace missing pixels by NaN, band by band.

    Args:
        values: (bands, h, w) as on disk; overwritten if it is float.
        nodata: No-data value per band as the header declares it, None if it declares none.
        valid: Pixels that the file's masks call valid, (bands, h, w).
        declared: What the user declares.
        missing: Takes the number of pixels by reason.
        guesses: Rules to apply that no header declares.

    Returns:
        The same array if no pixel is missing, else a float type that holds all its values.
    """
    missing = missing or Missing()
    absent = np.zeros(values.shape, dtype=np.bool_)
    for reason, found in _reasons(values, nodata, valid, declared, guesses):
        missing.add(reason, found)
        absent |= found
    if not absent.any():
        return values
    if values.dtype.kind != "f":
        # promote by type: float32 holds 16 bits exactly, and 32 bits need float64
        values = values.astype(np.promote_types(values.dtype, np.float32))
    values[absent] = np.nan
    return values


def _reasons(
    values: NDArray[Any],
    nodata: Sequence[float | None],
    valid: NDArray[np.bool_] | None,
    declared: Declared,
    guesses: Collection[Reason],
) -> Iterable[tuple[Reason, NDArray[np.bool_]]]:
    if values.dtype.kind == "f":
        yield "nan", ~np.isfinite(values)
    if valid is not None:
        yield "mask", ~valid
    if declared.nodata == "none":
        return
    header = [
        np.zeros(band.shape, np.bool_) if value is None else equal(band, value)
        for band, value in zip(values, nodata, strict=bool(nodata))
    ]
    if header:
        yield "nodata", np.stack(header)
    if declared.nodata != "auto":
        yield "user", any_of(values, declared.nodata)
    # eight bits leave no value to spare: black is water in a picture of radar
    if values.dtype.itemsize > 1:
        if "fill" in guesses:
            yield "fill", np.broadcast_to(filled(values), values.shape)
        if "impossible" in guesses:
            yield "impossible", impossible_values(values)


def mark_shared(
    values: NDArray[Any], units: Units, declared: Declared, missing: Missing
) -> NDArray[Any]:
    """Replace values by NaN that all bands share and that no ground has.

    Args:
        values: (bands, h, w) in `units`; overwritten if it is float.
        units: Units of the values.
        declared: What the user declares.
        missing: Takes the number of pixels.
    """
    absent = shared(values, units)
    if declared.nodata == "none" or not absent.any():
        return values
    missing.add("fill", absent[None])
    if values.dtype.kind != "f":
        values = values.astype(np.promote_types(values.dtype, np.float32))
    values[:, absent] = np.nan
    return values


def missing_pixels(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels (H, W) in which any band of (bands, H, W) is not finite."""
    # one missing band hides the pixel: networks see it as the band's mean, and beside the true
    # values of the other bands that would look like a spectrum
    if values.dtype.kind != "f":
        return np.zeros(values.shape[1:], dtype=np.bool_)
    return np.asarray(~np.isfinite(values).all(axis=0))


def encode_pixels(
    modality: Modality, values: NDArray[Any]
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """Encode raster values as stored integers, with missing pixels missing in every band.

    Args:
        modality: Bands and units of the values.
        values: (bands, H, W); may be overwritten.

    Returns:
        Stored integers (bands, H, W) and the missing pixels (H, W).
    """
    missing = missing_pixels(values)
    if modality.units == "linear":
        # power at or below 0 is weaker than the noise: it has no logarithm, but it is measured
        values = np.maximum(values, 10 ** (modality.valid_range[0] / 10), dtype=np.float64)
    stored = modality.encode(values)
    if missing.any():
        stored[:, missing] = modality.storage.nodata
    return stored, missing
