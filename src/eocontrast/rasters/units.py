"""Physical values of stored numbers: the scale and offset of each band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Units
from eocontrast.rasters.values import Offset


def to_units(
    values: NDArray[Any],
    scales: Sequence[float],
    offsets: Sequence[float],
    units: Units,
    offset: Offset = "auto",
) -> NDArray[Any]:
    """Apply scale and offset of each band.

    Digital numbers are 10,000 x reflectance, so a scale of 0.0001 with an offset of -0.1 subtracts
    1,000 from them.

    Args:
        values: (bands, h, w) as on disk, NaN for no data.
        scales: Scale per band as the header declares it.
        offsets: Offset per band as the header declares it.
        units: Units of the result.
        offset: Number in `units` that replaces the header's offsets.
    """
    scale, shift = in_units(scales, offsets, units)
    if offset != "auto":
        shift = np.full_like(shift, offset)
    if ((scale == 1) & (shift == 0)).all():
        return values
    if values.dtype.kind in "iu" and (scale == 1).all() and (shift == np.rint(shift)).all():
        # widen first: unsigned values below the offset would wrap around
        return values.astype(np.int64) + shift.astype(np.int64)[:, None, None]
    scaled: NDArray[np.float64] = values * scale[:, None, None] + shift[:, None, None]
    return scaled


def in_units(
    scales: Sequence[float], offsets: Sequence[float], units: Units
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scale and offset of each band that give values in `units`."""
    scale, shift = np.array(scales, np.float64), np.array(offsets, np.float64)
    if units == "DN":
        # a scale as small as these gives reflectance, not digital numbers
        factor = np.where(np.abs(scale) < 0.01, 1e4, 1.0)
        scale, shift = _exact(scale * factor), _exact(shift * factor)
    return scale, shift


def _exact(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round off what multiplying decimal fractions leaves: 0.0001 x 10,000 is 1."""
    whole = np.rint(numbers)
    return np.where(np.abs(numbers - whole) < 1e-6, whole, numbers)
