"""Which bands of a source's rasters its store keeps, and which it adds.

Data and models meet by the names of bands. Where they do not, somebody has to choose: leave a band
out of all stores, or add it as no data, which a network sees as the band's mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Modality, Sensor
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class Bands:
    """Of one sensor's store.

    Attributes:
        held: what comes from the rasters.
        places: of these bands in the rasters, in rising order.
        filled: names of the bands behind them, which no raster holds.
    """

    held: Modality
    places: tuple[int, ...]
    filled: tuple[str, ...]

    @property
    def modality(self) -> Modality:
        """Of the store."""
        return replace(self.held, bands=self.held.bands + self.filled)

    def keep(self, values: NDArray[Any]) -> NDArray[Any]:
        """The bands of a raster that the store holds, (bands, H, W)."""
        return values if len(values) == len(self.places) else values[list(self.places)]

    def fill(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        """These as stored integers, and behind them no data in each band that is added."""
        if not self.filled:
            return stored
        shape = (len(self.filled), *stored.shape[1:])
        absent = np.full(shape, self.held.storage.nodata, dtype=stored.dtype)
        return np.concatenate([stored, absent])


def stored_bands(
    source: Source,
    drop_bands: Collection[str] = (),
    fill_bands: Mapping[Sensor, Sequence[str]] | None = None,
) -> dict[Sensor, Bands]:
    """By sensor, what the store of a source holds.

    Args:
        source: what the rasters are.
        drop_bands: left out where a sensor has them.
        fill_bands: added by sensor where it lacks them, behind the others.

    Raises:
        UserError: no band of a sensor would be left.
    """
    fill = fill_bands or {}
    return {
        sensor: _of(sensor, modality, drop_bands, fill.get(sensor, ()))
        for sensor, modality in source.modalities.items()
    }


def _of(sensor: Sensor, rasters: Modality, drop: Collection[str], fill: Sequence[str]) -> Bands:
    places = tuple(place for place, band in enumerate(rasters.bands) if band not in drop)
    if not places:
        raise UserError(
            f"normalise.drop_bands names every band of {sensor}: {', '.join(rasters.bands)}; "
            "leave one"
        )
    held = replace(rasters, bands=tuple(rasters.bands[place] for place in places))
    return Bands(held, places, tuple(b for b in dict.fromkeys(fill) if b not in rasters.bands))
