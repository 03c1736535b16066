"""The offset of +1000 that Sentinel-2's digital numbers have since processing baseline 04.00."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Units

ADDED = 1000.0
"""In digital numbers; 0.1 in reflectance."""

NEAR = 1500.0
"""Deep water, shadow or the cirrus band reach less than 0.05 of reflectance in any band."""


def added_offset(units: Units) -> float:
    """Return the number that removes the offset from values in these units."""
    return -ADDED / (1 if units == "DN" else 10000)


def darkest(values: NDArray[Any], units: Units) -> float | None:
    """Return the least value in digital numbers; None for other sensors or without any value.

    Args:
        values: Values of optical bands of any shape, NaN for no data.
        units: Units of the values.
    """
    if units not in ("DN", "reflectance"):
        return None
    least = float(np.fmin.reduce(values, axis=None))
    return None if np.isnan(least) else least * (1 if units == "DN" else 10000)


def has_offset(values: NDArray[Any], units: Units) -> bool:
    """Return whether values (bands, ...) look as if the offset were still in them."""
    least = darkest(values, units)
    if least is None or not ADDED <= least < NEAR:
        return False
    # bands of one value show nothing
    flat = values.reshape(len(values), -1)
    return bool((np.fmin.reduce(flat, axis=1) < np.fmax.reduce(flat, axis=1)).any())
