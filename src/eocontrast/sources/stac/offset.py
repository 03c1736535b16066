"""Detection of the offset of 1000 in digital numbers, by metadata and pixels.

ESA adds 1000 since processing baseline 04.00, so that dark pixels need not be negative. Some
catalogues take it off and say so, some do not, and some say the opposite of what they did
(https://github.com/Element84/earth-search/issues/66 and /71). The pixels decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from eocontrast import modalities
from eocontrast.rasters.offsets import Evidence, dark_ends, offset_by_content
from eocontrast.sources.stac.search import baseline

OFFSET = int(modalities.OFFSET)


@dataclass(frozen=True)
class Decision:
    """The verdict on the offset of one item, and its reasons.

    Attributes:
        present: Whether 1000 has to be taken off.
        stated: What the metadata say; None if they say nothing.
        evidence: What the dark ends of the bands show, as `offset_by_content` names it.
    """

    present: bool
    stated: bool | None
    evidence: Evidence

    @property
    def contradicts(self) -> bool:
        """True if the pixels say the opposite of the metadata."""
        return self.stated is not None and self.stated != self.present


def stated_offset(item: pystac.Item) -> bool | None:
    """Return whether an item's metadata say that the offset is in its pixels, None if nothing."""
    applied = item.properties.get("earthsearch:boa_offset_applied")
    if applied is not None:
        return not applied and baseline(item) >= "04.00"
    # compare as text: baselines have two digits before and after the dot
    if baseline(item):
        return baseline(item) >= "04.00"
    offsets = [offset for asset in item.assets.values() for offset in _offsets(asset.extra_fields)]
    return any(offset < 0 for offset in offsets) if offsets else None


def _offsets(fields: Mapping[str, Any]) -> list[float]:
    """Return the offsets of an asset by versions 1 and 2 of STAC's raster extension."""
    bands = (*fields.get("raster:bands", ()), *fields.get("bands", ()), fields)
    held = [band.get(name) for band in bands for name in ("offset", "raster:offset")]
    return [offset for offset in held if isinstance(offset, int | float)]


def decide(item: pystac.Item, numbers: NDArray[np.integer]) -> Decision:
    """Decide by the dark ends of the bands, and by the metadata if those do not tell.

    Args:
        item: Item of Sentinel-2.
        numbers: Digital numbers of its bands, (bands, H, W); 0 is no data.
    """
    stated = stated_offset(item)
    counts = dark_ends(np.where(numbers == 0, np.float32("nan"), numbers), "DN")
    assert counts is not None
    evidence = offset_by_content(counts)
    clear = {"present": True, "absent": False}.get(evidence, bool(stated))
    return Decision(clear, stated, evidence)
