"""Detection of the offset of 1000 in digital numbers, by metadata and pixels.

ESA adds 1000 since processing baseline 04.00, so that dark pixels need not be negative. Some
catalogues take it off and say so, some do not, and some say the opposite of what they did
(https://github.com/Element84/earth-search/issues/66 and /71). The pixels decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pystac
from numpy.typing import NDArray

from eocontrast.patches import inputs
from eocontrast.sources.stac.search import baseline

OFFSET = int(inputs.OFFSET)

DARK_SHARE = 0.5
"""Percentile that is the dark end of a band: shadows and water, but not single bad pixels."""

CLEAR_OF = 900
"""Dark end below which the offset cannot be there: it would be a reflectance of -0.01."""

BRIGHT = 1400
"""Dark end above which a band proves nothing: it may be snow or sand without the offset."""


@dataclass(frozen=True)
class Decision:
    """The verdict on the offset of one item, and its reasons.

    Attributes:
        present: Whether 1000 has to be taken off.
        stated: What the metadata say; None if they say nothing.
        darkest: Dark end of the darkest band.
    """

    present: bool
    stated: bool | None
    darkest: float

    @property
    def contradicts(self) -> bool:
        """True if the pixels say the opposite of the metadata."""
        return self.stated is not None and self.stated != self.present


def stated_offset(item: pystac.Item) -> bool | None:
    """Return whether an item's metadata say that the offset is in its pixels, None if nothing."""
    applied = item.properties.get("earthsearch:boa_offset_applied")
    if applied is not None:
        return not applied and baseline(item) >= "04.00"
    if baseline(item):
        return baseline(item) >= "04.00"
    offsets = {
        band["offset"]
        for asset in item.assets.values()
        for band in asset.extra_fields.get("raster:bands", [])
        if "offset" in band
    }
    return any(offset < 0 for offset in offsets) if offsets else None


def dark_end(values: NDArray[np.integer]) -> float:
    """Return the dark end of a band, NaN without pixels; 0 is no data."""
    held = values[values > 0]
    return float(np.percentile(held, DARK_SHARE)) if held.size else float("nan")


def decide(item: pystac.Item, dark_ends: Mapping[str, float]) -> Decision:
    """Decide by the darkest band, and by the metadata if that is too bright to tell.

    Args:
        item: Item of Sentinel-2.
        dark_ends: Dark end of each band, by `dark_end`.
    """
    stated = stated_offset(item)
    finite = [value for value in dark_ends.values() if np.isfinite(value)]
    darkest = min(finite, default=float("nan"))
    if darkest < CLEAR_OF:
        return Decision(False, stated, darkest)
    if darkest < BRIGHT:
        return Decision(True, stated, darkest)
    return Decision(bool(stated), stated, darkest)
