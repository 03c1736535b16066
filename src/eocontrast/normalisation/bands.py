"""Bands that a store keeps from a source's rasters, and bands that it adds.

Data and models meet by band names. If a band is missing, the user decides: leave it out of all
stores, or add it as missing data, which a network sees as the band's mean.
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
    """Bands of one sensor in the store.

    Attributes:
        held: Bands that the rasters hold.
        places: Positions of these bands in the rasters, in rising order.
        filled: Names of the bands behind them, which no raster holds.
    """

    held: Modality
    places: tuple[int, ...]
    filled: tuple[str, ...]

    @property
    def modality(self) -> Modality:
        """Return the modality of the store."""
        return replace(self.held, bands=self.held.bands + self.filled)

    def keep(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the bands of a raster that the store holds, (bands, H, W)."""
        return values if len(values) == len(self.places) else values[list(self.places)]

    def fill(self, stored: NDArray[np.integer]) -> NDArray[np.integer]:
        """Encode these bands, and add missing data for each filled band."""
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
    """Return the bands of a source's store by sensor.

    Args:
        source: Description of the rasters.
        drop_bands: Bands to leave out if a sensor has them.
        fill_bands: Bands to add behind the others, by sensor, if it lacks them.

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
