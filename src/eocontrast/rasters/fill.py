"""Values that mean no data though no header says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Units

# list the default of ESRI's grids (-9999), and ends of 16 and 32 bits
IMPOSSIBLE = (-9999, -99999, -32768, -32767, -2147483648, 65535, 4294967295)
"""Values that files use for no data without declaring it."""

FILLS = (0, -1, -999, -1000, -0.1, -50, -60, -100, -300)
"""Values that mean no data if all bands hold them.

They are 0, what programs write for it, 0 after the offset of Sentinel-2 was taken off, and
logarithms of the least power. Those of decibel count in floating-point files only, since DN may
reach them.
"""

MEASURED: dict[Units, tuple[float, float]] = {
    "dB": (-45.0, 45.0),
    "linear": (10**-4.5, 10**4.5),
    "DN": (-900.0, 60000.0),
    "reflectance": (-0.09, 6.0),
}
"""Range outside of which a value that several bands share to the last bit is fill, not ground.

It finds no-data values that were scaled (6.5535, -327.68), and logarithms of any least power.
"""

# stay below NC_FILL_FLOAT (9.97e36) and the end of float32 (3.4e38)
HUGE = 1e19
"""Larger values are the ends of floating-point types, or GDAL's and netCDF's fill."""


def any_of(values: NDArray[Any], numbers: Iterable[float]) -> NDArray[np.bool_]:
    """Return where values equal one of the numbers."""
    absent = np.zeros(values.shape, dtype=np.bool_)
    for number in numbers:
        absent |= equal(values, number)
    return absent


def impossible_values(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the values that no sensor gives."""
    # NaN loses against every number
    low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
    absent = any_of(values, [number for number in IMPOSSIBLE if low <= number <= high])
    # include the least value plus one: NC_FILL_SHORT is -32767, NC_FILL_INT -2147483647
    if values.dtype.kind == "i":
        absent |= (values == np.iinfo(values.dtype).max) | (
            values <= np.iinfo(values.dtype).min + 1
        )
    if values.dtype.kind == "f" and (low < -HUGE or high > HUGE):
        absent |= (np.abs(values) > HUGE) & np.isfinite(values)
    return absent


def equal(values: NDArray[Any], number: float) -> NDArray[np.bool_]:
    """Return where values equal a number in their own type."""
    if values.dtype.kind == "f":
        # -3.4e38 in the header means the float32 nearest to it in the pixels
        with np.errstate(over="ignore"):
            return np.asarray(values == values.dtype.type(number))
    # integers are compared with an integer, ten times as fast as with a float
    return np.asarray(values == (int(number) if float(number).is_integer() else number))


def filled(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the pixels that hold a value of fill in all bands, as outside the swath."""
    filled = np.zeros(values.shape[1:], dtype=np.bool_)
    low = np.fmin.reduce(values[0], axis=None)
    whole = values.dtype.kind != "f"
    for number in FILLS if not whole else FILLS[:4]:
        if number < low:
            continue
        here = equal(values[0], number)
        for band in values[1:]:
            # in most windows the first band already shows that no pixel is void
            if not here.any():
                break
            here = here & equal(band, number)
        filled |= here
    return filled


def shared(values: NDArray[Any], units: Units) -> NDArray[np.bool_]:
    """Return the pixels whose bands hold one and the same value, which no ground has.

    Args:
        values: (bands, h, w) in `units`; one band shares nothing.
        units: Units of the values.
    """
    low, high = MEASURED[units]
    # in most windows the extremes already show that there is none
    least, most = np.fmin.reduce(values[0], axis=None), np.fmax.reduce(values[0], axis=None)
    if len(values) < 2 or not (least < low or most > high):
        return np.zeros(values.shape[1:], dtype=np.bool_)
    outside = (values[0] < low) | (values[0] > high)
    return np.asarray(outside & (values == values[0]).all(axis=0))
