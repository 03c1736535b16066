"""Inputs that published weights expect: bands in order, units, ranges, scaling and size.

Statistics of SSL4EO-S12 are those of its authors' writer, which pretraining read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, TRUE_COLOUR, Modality
from eocontrast.patches.inputs import InputSpec

SIDE = 224
"""Pixels of a side in the pretraining of all of these except CROMA."""

_S1_MEAN, _S1_SD = (-12.548, -20.192), (5.257, 5.912)
_S2_MEAN = (
    *(1605.575, 1390.782, 1314.873, 1363.525, 1549.444, 2091.749, 2371.717),
    *(2299.905, 2560.295, 830.066, 22.104, 2177.072, 1524.065),
)
_S2_SD = (
    *(786.787, 850.348, 875.065, 1138.850, 1122.178, 1161.592, 1274.392),
    *(1248.429, 1345.527, 577.316, 51.154, 1336.099, 1136.538),
)
_COPERNICUS_S1 = ((-12.59, -20.26), (5.26, 5.91))
_COPERNICUS_S2 = (
    (
        *(1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7),
        *(2318.7, 2581.0, 837.7, 22.0, 2195.2, 1537.4),
    ),
    (
        *(791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0),
        *(1249.5, 1345.9, 577.5, 47.5, 1340.0, 1142.9),
    ),
)
"""The statistics in Copernicus-FM's pretraining script."""

_DOFA_MEAN = (114.110, 114.818, 126.640, 84.335, 97.848, 103.945, 101.436, 72.328, 56.665)
_DOFA_SD = (77.844, 69.968, 67.425, 64.570, 61.725, 61.342, 60.297, 47.885, 42.559)
"""Statistics of SatlasPretrain's 8 bits in DOFA's pretraining, in the order of `_SATLAS`."""

_SATLAS = (*TRUE_COLOUR, "B05", "B06", "B07", "B08", "B11", "B12")
_TCI = (0.0, 3558.0)
"""Digital numbers that ESA's true-colour image of level 1C maps to 8 bits."""

_SATLAS_HIGH = (_TCI[1],) * 3 + (8160.0,) * 6
"""Digital numbers that SatlasPretrain maps to 255."""

_SECO_LOW, _SECO_HIGH = (0.0, 2.0, 3.0), (129.0, 103.0, 88.0)
"""Quantiles of SeCo's 8-bit red, green and blue, from its data set class."""

_BYTE = 10000 / 255
"""Digital numbers of one step of 8 bits."""


def _s2(bands: Sequence[str], scaling: str) -> InputSpec:
    """Return an input of some bands with the statistics of SSL4EO-S12."""
    whole = InputSpec(SENTINEL2_L1C, _S2_MEAN, _S2_SD, SIDE, scaling)  # type: ignore[arg-type]
    return whole.select(bands)


def _pictures(
    low: Sequence[float], high: Sequence[float], mean: Sequence[float], sd: Sequence[float]
) -> InputSpec:
    """Return red, green and blue that become 0 to 1 between two ends, then z-scores.

    Args:
        low: Digital number per band that becomes 0.
        high: Digital number per band that becomes 1.
        mean: Mean of the pictures from 0 to 1.
        sd: Standard deviation, likewise.
    """
    ends = tuple(zip(low, high, strict=True))
    return InputSpec(
        Modality(TRUE_COLOUR, "DN", SENTINEL2_L1C.valid_range),
        # statistics of pictures from 0 to 1, in digital numbers: one scaling does both steps
        tuple(a + m * (b - a) for m, (a, b) in zip(mean, ends, strict=True)),
        tuple(s * (b - a) for s, (a, b) in zip(sd, ends, strict=True)),
        SIDE,
        clip=ends,
    )


def _dofa_s2() -> InputSpec:
    """Return SatlasPretrain's 8 bits as z-scores."""
    steps = [high / 255 for high in _SATLAS_HIGH]
    return InputSpec(
        Modality(_SATLAS, "DN", SENTINEL2_L1C.valid_range),
        tuple(mean * step for mean, step in zip(_DOFA_MEAN, steps, strict=True)),
        tuple(sd * step for sd, step in zip(_DOFA_SD, steps, strict=True)),
        SIDE,
        clip=tuple((0.0, high) for high in _SATLAS_HIGH),
    )


def _by_image(modality: Modality) -> InputSpec:
    """Return an input that each image's own mean and deviation scale, as CROMA's authors do."""
    bands = len(modality.bands)
    return InputSpec(modality, (0.0,) * bands, (1.0,) * bands, 120, "image_two_sd")


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_DINOV3 = ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143))

_PICTURE = ((_TCI[0],) * 3, (_TCI[1],) * 3)

_INPUTS: dict[str, Callable[[], InputSpec]] = {
    "ssl4eo_10k": lambda: _s2(SENTINEL2_L1C.bands, "division"),
    "ssl4eo_10k_rgb": lambda: _s2(TRUE_COLOUR, "division"),
    "ssl4eo_2sd_s1": lambda: InputSpec(SENTINEL1, _S1_MEAN, _S1_SD, SIDE, "two_sd"),
    "ssl4eo_2sd_s2": lambda: _s2(SENTINEL2_L1C.bands, "two_sd"),
    # decibels as they are; a missing pixel gets SSL4EO-S12's mean, since 0 dB would be a city
    "closp_s1": lambda: InputSpec(
        SENTINEL1, (0.0, 0.0), (1.0, 1.0), SIDE, missing=(_S1_MEAN[0], _S1_MEAN[1])
    ),
    "closp_s2": lambda: _s2(SENTINEL2_L1C.bands, "division"),
    "seco_eco": lambda: _s2(SENTINEL2_L2A.bands, "division"),
    "seco": lambda: _pictures(
        [_BYTE * v for v in _SECO_LOW], [_BYTE * v for v in _SECO_HIGH], *_IMAGENET
    ),
    "satlas": lambda: replace(
        _s2(_SATLAS, "division"), clip=tuple((0.0, high) for high in _SATLAS_HIGH)
    ),
    "imagenet": lambda: _pictures(*_PICTURE, *_IMAGENET),
    "imagenet_half": lambda: _pictures(*_PICTURE, (0.5,) * 3, (0.5,) * 3),
    "dinov3_sat": lambda: _pictures(*_PICTURE, *_DINOV3),
    "croma_s1": lambda: _by_image(SENTINEL1),
    "croma_s2": lambda: _by_image(SENTINEL2_L2A),
    # pretraining saw uncalibrated amplitudes of products, cut at 255, which decibels do not give
    # back; its authors evaluate it on z-scores of decibels (Copernicus-Bench, BigEarthNet-S1)
    "dofa_s1": lambda: InputSpec(SENTINEL1, _S1_MEAN, _S1_SD, SIDE),
    "dofa_s2": _dofa_s2,
    "copernicusfm_s1": lambda: InputSpec(SENTINEL1, *_COPERNICUS_S1, SIDE),
    "copernicusfm_s2": lambda: InputSpec(SENTINEL2_L1C, *_COPERNICUS_S2, SIDE),
}


_OFFSET_UNKNOWN = ("closp_s2", "copernicusfm_s2", "dofa_s2", "seco_eco")
"""Inputs whose publication does not say which processing baseline its products have, or mixes them.

The others saw reflectance without the offset of 1000: SSL4EO-S12 and SeCo ended before it came.
"""


def expected_input(key: str) -> InputSpec:
    """Return the input that a catalogue's key names; pixels at its end, as in `_224`, resize."""
    base, _, side = key.rpartition("_")
    base, resize = (base, int(side)) if side.isdigit() else (key, 0)
    offset = None if base in _OFFSET_UNKNOWN or base.endswith("_s1") else False
    return replace(_INPUTS[base](), resize=resize, pixel=10.0, with_offset=offset)
