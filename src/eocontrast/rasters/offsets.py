"""The offset of +1000 that Sentinel-2's digital numbers have since processing baseline 04.00.

ESA adds it so that dark pixels need not be negative. Files often lose the metadata that state it,
so the dark end of each band decides where nothing states it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import OFFSET, Units

DARK = 700.0
"""Ground this dark is common where the offset is not there."""

CLEAR_OF = 900.0
"""The offset cannot be in values below this: it would be a reflectance of -0.01."""

NEAR = 1500.0
"""Water and shadow are darker than a reflectance of 0.05, which is 1500 with the offset."""

DARK_SHARE = 0.005
"""Share of a band's pixels that form its dark end, so that single bad pixels do not count."""

Evidence = Literal["absent", "present", "doubtful", "bright"]
"""Answer of the dark ends: `doubtful` if few bands begin near 1000, `bright` if none does."""

DarkEnds = NDArray[np.int64]
"""Number of pixels, and of those below `DARK`, `CLEAR_OF` and `NEAR`, shape (4, bands).

Counts of several files can be added up.
"""


def added_offset(units: Units) -> float:
    """Return the number that removes the offset from values in these units."""
    return -OFFSET / digital_numbers(units)


def digital_numbers(units: Units) -> float:
    """Return the number of these units that one digital number is the fraction of."""
    return 1.0 if units == "DN" else 10000.0


def dark_ends(values: NDArray[Any], units: Units) -> DarkEnds | None:
    """Count the dark pixels of each band; None for values of radar.

    Bands of one value count no pixel, since they show no ground.

    Args:
        values: Values of optical bands, (bands, ...), NaN for no data.
        units: Units of the values.
    """
    if units not in ("DN", "reflectance"):
        return None
    flat = values.reshape(len(values), -1)
    limits = [limit / digital_numbers(units) for limit in (DARK, CLEAR_OF, NEAR)]
    counts = np.zeros((4, len(flat)), np.int64)
    for place, band in enumerate(flat):
        held = band[np.isfinite(band)] if band.dtype.kind == "f" else band
        if held.size and (least := held.min()) < held.max():
            below = (np.count_nonzero(held < limit) if least < limit else 0 for limit in limits)
            counts[:, place] = (held.size, *below)
    return counts


def offset_by_content(counts: DarkEnds) -> Evidence:
    """Judge by the dark ends of all bands whether the offset is in the values.

    One band far below 1000 excludes it. Snow is dark in the short-wave infrared and sand in blue,
    so a clear answer takes half of the bands, and two at least, that begin near 1000.

    Args:
        counts: As `dark_ends` returns them, also summed over files.
    """
    # bands of one value, or without data, show no ground
    bands = counts[:, counts[0] > 0]
    share = bands[1:] / bands[0]
    if (share[1] > DARK_SHARE).any():
        return "absent"
    near = int((share[2] > DARK_SHARE).sum())
    if not near:
        return "bright"
    return "present" if near >= max(2, bands.shape[1] / 2) else "doubtful"


TWICE = 0.2
"""Share of a band below `CLEAR_OF` that shows that a stated offset was not in it any more."""


def share_below(values: NDArray[Any], units: Units) -> float:
    """Return the largest share of a band that lies so far below 0 that the offset was not in it.

    Args:
        values: Values of optical bands without the offset, (bands, ...), NaN for no data.
        units: Units of the values.
    """
    if units not in ("DN", "reflectance"):
        return 0.0
    limit = (CLEAR_OF - OFFSET) / digital_numbers(units)
    flat = values.reshape(len(values), -1)
    held = np.isfinite(flat).sum(axis=1).clip(1)
    return round(float(((flat < limit).sum(axis=1) / held).max()), 3)


def is_dark(counts: DarkEnds) -> bool:
    """Return whether the dark end of a band lies below `DARK`."""
    return bool((counts[1] > DARK_SHARE * counts[0]).any())
