"""Typical values of an image, and what physics says about the scale that they are in.

The header rarely states the base of a logarithm or the quantification of reflectance. Values on a
wrong scale look like any others, so levels that no ground has decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Modality, implausible
from eocontrast.rasters.offsets import digital_numbers

_CO, _CROSS = ("VV", "HH"), ("VH", "HV")
_VISIBLE, _INFRARED = ("B02", "B03", "B04"), ("B08", "B8A", "B07")

PIXELS = 1024
"""Pixels of an image that are looked at: medians of more cost time and say the same."""


@dataclass(frozen=True)
class Levels:
    """Typical values of one image, in dB or in digital numbers.

    Attributes:
        kind: What the image shows: both polarisations of radar, one of them, land as it is seen in
            the near infrared, or the brightest band where there is no land.
        level: Median of the first band of the kind.
        other: Median of cross-polarisation; the same as `level` for other kinds.
        ratio: Median of the difference of both polarisations in dB; share of optical pixels with a
            band that is brighter than no ground is there; 0 for other kinds.
        spread: Range of `level` between the 5th and the 95th percentile.
    """

    kind: Literal["pair", "VV", "VH", "land", "brightest"]
    level: float
    other: float
    ratio: float
    spread: float

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class Doubt:
    """A scale that values can hardly have.

    Attributes:
        certain: Whether no ground has such values; otherwise they are unlikely.
        text: What was found and what it looks like.
    """

    certain: bool
    text: str


def levels(modality: Modality, pixels: NDArray[Any]) -> Levels | None:
    """Return typical values of an image; None if it shows none, or is in other units at a glance.

    Args:
        modality: Bands and units of the pixels.
        pixels: Finite values, (bands, n).
    """
    # 8 bits are stretched for the eye: their numbers have no unit
    if not pixels.size or (modality.units == "DN" and modality.valid_range[1] <= 255):
        return None
    pixels = pixels[:, :: -(-pixels.shape[1] // PIXELS)].astype(np.float64)
    if implausible(pixels, modality):
        return None
    if modality.units in ("dB", "linear"):
        return _radar(modality, pixels)
    return _optical(modality.bands, pixels * digital_numbers(modality.units))


def _radar(modality: Modality, pixels: NDArray[np.float64]) -> Levels | None:
    if modality.units == "linear":
        # stop at -100 dB, far below Sentinel-1's noise: 0 has no logarithm
        pixels = 10 * np.log10(np.maximum(pixels, 1e-10))
    names = {band.upper(): values for band, values in zip(modality.bands, pixels, strict=True)}
    pair = [(names[a], names[b]) for a, b in zip(_CO, _CROSS, strict=True) if {a, b} <= {*names}]
    if pair:
        (co, cross), ratio = pair[0], float(np.median(pair[0][0] - pair[0][1]))
        if np.array_equal(co, cross):  # the audit names copies of a band
            return None
        return _levels("pair", co, float(np.median(cross)), ratio)
    for kind, bands in (("VV", _CO), ("VH", _CROSS)):
        for band in bands:
            if band in names:
                return _levels("VV" if kind == "VV" else "VH", names[band])
    return None


def _optical(bands: Sequence[str], pixels: NDArray[np.float64]) -> Levels:
    visible = [place for place, band in enumerate(bands) if band in _VISIBLE]
    infrared = [bands.index(band) for band in _INFRARED if band in bands]
    odd = 0.0
    if len(visible) == len(_VISIBLE):
        second, first = np.sort(pixels[visible], axis=0)[-2:]
        # red soil has 2.2 times as much in red as in green, plants 3 to 10 times in the infrared
        odd = float(((first > 2000) & (first > 2.5 * second)).mean())
    if visible and infrared:
        near = pixels[infrared[0]]
        # plants and soil are brighter in the near infrared, water, snow and clouds are not
        land = near > 1.2 * pixels[visible].max(axis=0)
        if land.mean() > 0.05:
            odd = max(odd, _odd_on_land(bands, pixels[:, land]))
            return _levels("land", near[land], ratio=odd)
    return _levels("brightest", pixels.max(axis=0), ratio=odd)


_DARKER = (("B05", "B06", 1.5), ("B10", "B09", 2.0))
"""Bands, and how many times as bright as another they are at most on land.

Plants and soil reflect more at 740 nm than at 705 nm. Vapour absorbs more in the cirrus band.
"""


def _odd_on_land(bands: Sequence[str], pixels: NDArray[np.float64]) -> float:
    """Return the share of land with a band that is too bright beside another, (bands, n)."""
    named = dict(zip(bands, pixels, strict=True))
    shares = [
        # in the shade, noise decides
        float(((named[band] > 1000) & (named[band] > factor * named[other])).mean())
        for band, other, factor in _DARKER
        if {band, other} <= {*named}
    ]
    return max(shares, default=0.0)


def _levels(
    kind: Literal["pair", "VV", "VH", "land", "brightest"],
    values: NDArray[np.float64],
    other: float | None = None,
    ratio: float = 0.0,
) -> Levels:
    low, middle, high = (float(number) for number in np.percentile(values, (5, 50, 95)))
    numbers = (middle, middle if other is None else other, ratio, high - low)
    return Levels(kind, *(round(number, 3) for number in numbers))


LEAST_RATIO = 4.2
"""Least ratio of co- to cross-polarisation in dB. A cloud of randomly turned needles has 4.77
(Freeman and Durden 1998), forests 5 to 6, the 30 patches of BigEarthNet 4.8 to 7.9."""

BRIGHT = -11.0
"""Cross-polarisation of land is darker: -14.5 dB and less in the patches of BigEarthNet."""

LOGARITHMS = (-6.5, -8.0)
"""Least co- and cross-polarisation as natural logarithms, which are -28 and -35 dB."""

# note that 4.343 is 10 / ln(10), the decibels of one natural logarithm
_FACTORS = {
    10.0: "the logarithm of the power to base 10 without its factor of 10, or standardised values",
    4.343: "the natural logarithm of the power",
    2.0: "half of the right decibels, as 10 log10 of an amplitude is",
}
"""Factors by which values are too small, and what makes them so."""

_USUAL_RATIO = 6.2
"""Ratio of both polarisations over mixed land in dB."""


def doubt(found: Levels) -> Doubt | None:
    """Return why an image can hardly be on the declared scale; None if it can."""
    match found.kind:
        case "pair":
            return _doubt_pair(found)
        case "VV" | "VH":
            return _doubt_one(found)
        case "land":
            # land of all samples has 1,200 to 5,000; a shore of algae has less, a tenth has 500
            return _doubt_reflectance(found, 700, 8000, "land in the near infrared")
        case "brightest":
            # clear water has 150 to 400 in blue, clouds up to 11,000
            return _doubt_reflectance(found, 80, 12000, "the brightest band")


def swapped(found: Levels) -> str:
    """Return why bands have changed places; empty if they have not."""
    if found.kind in ("land", "brightest") and found.ratio > 0.35:
        return (
            f"{found.ratio:.0%} of the pixels have a visible band more than 2.5 times as bright as "
            "the others, which only the infrared is, or B05 above B06, or B10 above B09: bands "
            "have changed places"
        )
    if found.kind != "pair" or found.ratio > -3:
        return ""
    return (
        f"cross-polarisation is stronger than co-polarisation by {-found.ratio:.1f} dB, which no "
        "ground does: both bands have changed places, or one is in other units"
    )


def _doubt_pair(found: Levels) -> Doubt | None:
    level = f"medians of {found.level:.1f} and {found.other:.1f} dB, {found.ratio:.1f} dB apart"
    if found.other > BRIGHT and found.ratio < LEAST_RATIO:
        ratio = max(found.ratio, 0.1)
        factor = min(_FACTORS, key=lambda f: abs(np.log(_USUAL_RATIO / ratio / f)))
        text = f"{level}; no ground has less than 4.8 apart. It looks like {_FACTORS[factor]}"
        low = found.level > LOGARITHMS[0] and found.other > LOGARITHMS[1]
        return Doubt(factor > 2 and low, text)
    if found.level > 2 or found.other > -3:
        return Doubt(False, f"{level}, brighter than any town. It looks like uncalibrated values")
    # calm water is at the noise, where the ratio is small; wind lifts VV, but not to 10 dB above it
    if found.other < -30 and found.ratio > 10:
        text = f"{level}. It looks like twice the right decibels, as 20 log10 of the power is"
        return Doubt(False, text)
    return None


def _doubt_one(found: Levels) -> Doubt | None:
    """Doubt a single polarisation as bright as a town, but smoother than speckle allows."""
    # towns have -4 dB in VV; patches of all samples spread over 5.6 dB and more
    bright = found.level > (-4 if found.kind == "VV" else -8)
    if not (bright and found.spread < 4):
        return None
    text = (
        f"a median of {found.level:.1f} dB, and 90 % of the values within {found.spread:.1f} dB, "
        f"which is less than speckle. It looks like {_FACTORS[4.343]}, or {_FACTORS[10.0]}"
    )
    return Doubt(False, text)


def _doubt_reflectance(found: Levels, low: float, high: float, of: str) -> Doubt | None:
    if low <= found.level <= high:
        return None
    side, factor = ("dark", "a tenth") if found.level < low else ("bright", "a multiple")
    text = (
        f"a median of {found.level:.0f} digital numbers in {of}, expected {low:g} to {high:g}: too "
        f"{side}. It looks like {factor} of 10,000 x reflectance"
    )
    return Doubt(False, text)
