"""Bands, units and stored integers of the sensors.

The store keeps values as small as the physics allows. Sentinel-2's digital numbers are integers
already, and 0.01 dB is far finer than the speckle of a 4-look Sentinel-1 pixel (2 dB).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eocontrast.runtime.errors import UserError

Sensor = Literal["s1", "s2"]
SENSORS: tuple[Sensor, ...] = get_args(Sensor)

Units = Literal["dB", "linear", "DN", "reflectance"]

Scaling = Literal["band_statistics", "division", "two_sd", "crop_maximum", "image_two_sd"]
"""Zero mean and unit variance per band; the share of the largest value; mean +- 2 sd to 0 and 1;
each band of each image over its own maximum; each band's own mean +- 2 sd to 0 and 1."""

BY_IMAGE: tuple[Scaling, ...] = ("crop_maximum", "image_two_sd")
"""Scalings whose result for one pixel depends on the rest of its image."""

OFFSET = 1000.0
"""Digital numbers that ESA adds to Sentinel-2's since processing baseline 04.00."""


@dataclass(frozen=True)
class Storage:
    """Integer type of a stored value, the size of its step in units, and its no-data value."""

    dtype: str
    step: float
    nodata: int

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest value of a measurement; they leave out the no-data value."""
        info = np.iinfo(self.dtype)
        return info.min + (self.nodata == info.min), info.max - (self.nodata == info.max)


_DECIBEL = Storage("int16", 0.01, -32768)
_DIGITAL = Storage("uint16", 1.0, 65535)

STORAGE: dict[Units, Storage] = {
    "dB": _DECIBEL,
    "linear": _DECIBEL,  # power, stored as 10 log10
    "DN": _DIGITAL,
    "reflectance": Storage("uint16", 1e-4, 65535),
}


@dataclass(frozen=True)
class Modality:
    """Bands of one sensor.

    Attributes:
        bands: Distinct names.
        units: Units of the values.
        valid_range: Range to which values are clipped, in `units` (dB for linear power).
    """

    bands: tuple[str, ...]
    units: Units
    valid_range: tuple[float, float]

    def __post_init__(self) -> None:
        if not self.bands or len(set(self.bands)) != len(self.bands):
            raise UserError(f"band names must be distinct and at least one, got {self.bands}")
        if self.valid_range[0] >= self.valid_range[1]:
            raise UserError(f"valid_range must be (low, high), got {self.valid_range}")

    @property
    def storage(self) -> Storage:
        """Storage of these units."""
        return STORAGE[self.units]

    def encode(self, values: NDArray[Any]) -> NDArray[np.integer]:
        """Convert values in `units` to stored integers, same shape.

        Values that are not finite become no data. Digital numbers of the store's type that need no
        change are returned without a copy.
        """
        storage, values = self.storage, np.asarray(values)
        low, high = storage.limits
        if values.dtype.kind in "iu" and self.units == "DN":  # steps already
            # checking costs a tenth of clipping, and values of a sensor are seldom outside
            if values.size and not (low <= values.min() and values.max() <= high):
                info = np.iinfo(values.dtype)
                values = values.clip(max(low, info.min), min(high, info.max))
            return values.astype(storage.dtype, copy=False)
        steps = values.astype(np.float64)
        if self.units == "linear":
            with np.errstate(divide="ignore", invalid="ignore"):
                steps = 10 * np.log10(steps)
        missing = ~np.isfinite(steps)
        # NaN has no integer, and a cast of it warns
        steps[missing] = 0
        steps /= storage.step
        np.rint(steps, out=steps)
        stored = np.clip(steps, low, high, out=steps).astype(storage.dtype)
        stored[missing] = storage.nodata
        return stored

    def decode(self, stored: NDArray[np.integer]) -> NDArray[np.float32]:
        """Convert stored integers to `units` (dB for linear power), same shape, NaN for no data."""
        values = stored.astype(np.float32) * np.float32(self.storage.step)
        return np.where(stored == self.storage.nodata, np.float32(np.nan), values)


def implausible(values: NDArray[Any], modality: Modality) -> str:
    """Return why values can hardly be in the units of a modality; empty if they can.

    Args:
        values: Finite values of any shape, at least one.
        modality: Bands, units and valid range.
    """
    least, most = values.min(), values.max()
    low, high = modality.valid_range
    # only corners of buildings and the like scatter back more than 0 dB
    if modality.units == "dB" and least >= 0:
        return "no value is negative, which looks like linear power or DN"
    if modality.units == "dB" and (least < -100 or most > 60):
        return "values beyond -100 to 60 dB look scaled, or like a value for no data"
    if modality.units == "linear" and least < 0 and np.median(values) < 0:
        return "most values are negative, which looks like dB"
    # 2: clouds and snow exceed a reflectance of 1
    if modality.units == "DN" and 0 < most <= 2 < high:
        return "no value exceeds 2, which looks like reflectance"
    if modality.units == "DN" and least >= 0 and 2 < most <= 255 < high and whole_numbers(values):
        return "no value exceeds 255, which looks like an image of 8 bits"
    # the valid range says that the data are pictures, such as OMBRIA's
    if modality.units == "DN" and high == 255 < most:
        return "values exceed 255, which an image of 8 bits cannot hold"
    if modality.units == "reflectance" and most > 2 and np.median(values) > 2:
        return "most values exceed 2, which looks like DN"
    if modality.units == "reflectance" and 0 < most < 1e-3:
        return "no value reaches 0.001, which looks scaled twice"
    low, high = limits(modality)
    if most < low or least > high:
        return "all values lie outside the valid range"
    return ""


def limits(modality: Modality) -> tuple[float, float]:
    """Return the valid range in the units of the values, as power for linear."""
    low, high = modality.valid_range
    return (10 ** (low / 10), 10 ** (high / 10)) if modality.units == "linear" else (low, high)


def whole_numbers(values: NDArray[Any]) -> bool:
    """Return whether all values are whole numbers."""
    return values.dtype.kind != "f" or bool((values == np.rint(values)).all())


SENTINEL1 = Modality(("VV", "VH"), "dB", (-40.0, 10.0))
"""C-band backscatter. The floor lies below VH over calm water (1st percentile -34 dB)."""

SENTINEL2_L1C = Modality(
    ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12"),
    "DN",
    (0.0, 10000.0),
)
"""Top-of-atmosphere reflectance times 10,000, clipped at that of a perfect diffuser."""

TRUE_COLOUR = ("B04", "B03", "B02")
"""Bands of Sentinel-2 that are shown as red, green and blue."""

SENTINEL2_L2A = Modality(
    tuple(band for band in SENTINEL2_L1C.bands if band != "B10"), "DN", (0.0, 10000.0)
)
"""Surface reflectance; the cirrus band B10 does not reach the surface."""
