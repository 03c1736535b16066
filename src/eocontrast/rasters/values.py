"""Meaning of pixel values: which are missing, and what the others are in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Modality, Units


def mark_missing(values: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[Any]:
    """Replace each band's no-data value by NaN.

    Args:
        values: (bands, h, w) as on disk; overwritten if it is float.
        nodata: No-data value per band as the header declares it, None if it declares none.

    Returns:
        The same array if no pixel is missing, else a float type that holds all its values.
    """
    missing = {
        band: absent
        for band, value in enumerate(nodata)
        if value is not None and (absent := _equal(values[band], value)).any()
    }
    if missing and values.dtype.kind != "f":
        values = values.astype(np.promote_types(values.dtype, np.float32))
    # band by band: a pixel may have a value in one band and none in another
    for band, absent in missing.items():
        values[band][absent] = np.nan
    return values


def _equal(values: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        # -3.4e38 in the header means the float32 nearest to it in the pixels
        return np.asarray(values == values.dtype.type(nodata))
    # integers are compared with an integer, ten times as fast as with a float
    return np.asarray(values == (int(nodata) if float(nodata).is_integer() else nodata))


def to_units(
    values: NDArray[Any], scales: Sequence[float], offsets: Sequence[float], units: Units
) -> NDArray[Any]:
    """Apply the declared scale and offset of each band unless the units are digital numbers."""
    scale, offset = np.array(scales), np.array(offsets)
    if units == "DN" or ((scale == 1) & (offset == 0)).all():
        return values
    scaled: NDArray[np.float64] = values * scale[:, None, None] + offset[:, None, None]
    return scaled


def missing_pixels(modality: Modality, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels without data, shape (H, W).

    A pixel is missing if any of its bands is not finite, or if all its digital numbers are 0,
    which ESA's products use outside the swath without declaring it.
    """
    # one missing band hides the pixel: networks see it as the band's mean, and beside the true
    # values of the other bands that would look like a spectrum
    missing: NDArray[np.bool_] = np.zeros(values.shape[1:], dtype=np.bool_)
    if values.dtype.kind == "f":
        missing |= ~np.isfinite(values).all(axis=0)
    if modality.units == "DN":
        missing |= _all_zero(values)
    return missing


def _all_zero(values: NDArray[Any]) -> NDArray[np.bool_]:
    zero: NDArray[np.bool_] = values[0] == 0
    for band in values[1:]:
        # in most windows the first band already shows that no pixel is void
        if not zero.any():
            break
        zero &= band == 0
    return zero


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
    missing = missing_pixels(modality, values)
    stored = modality.encode(values)
    if missing.any():
        stored[:, missing] = modality.storage.nodata
    return stored, missing
