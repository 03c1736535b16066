"""Bands and units of a scene, from its files where they say so."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, Modality, Sensor, Units
from eocontrast.modalities import implausible as reason_against
from eocontrast.rasters.band_names import standard_names
from eocontrast.rasters.grids import Grid, finest
from eocontrast.rasters.image import SensorImage, open_image
from eocontrast.rasters.open import open_raster
from eocontrast.runtime.errors import UserError

_TEN_METRES = ("B02", "B03", "B04", "B08")
# leave out B01, B09 and B10 of 60 m, which are made for aerosol, vapour and cirrus (ESA)
_TEN_BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")

# names of a file without descriptions, by the number of its bands
_USUAL: dict[Sensor, dict[int, tuple[str, ...]]] = {
    "s1": {2: SENTINEL1.bands},
    "s2": {
        len(bands): bands
        for bands in (_TEN_METRES, _TEN_BANDS, SENTINEL2_L2A.bands, SENTINEL2_L1C.bands)
    },
}

RANGES: dict[Units, tuple[float, float]] = {
    "dB": (-40.0, 10.0),
    "linear": (-40.0, 10.0),
    "DN": (0.0, 10000.0),
    "reflectance": (0.0, 1.0),
}
"""Valid range of each unit; that of linear power is in dB."""

_THUMB = 512


@dataclass(frozen=True)
class SceneImage:
    """One sensor's image of a scene.

    Attributes:
        path: One raster, or one per band if it holds `{band}`.
        modality: Bands, units and valid range.
        grid: Grid of the finest band.
        reasons: How bands and units were found, for the user to check.
    """

    path: str
    modality: Modality
    grid: Grid
    reasons: str

    def open(self, stack: ExitStack) -> SensorImage:
        """Open the files until `stack` closes them."""
        bands = self.modality.bands
        return stack.enter_context(open_image(self.path, bands, self.modality.units, bands))


def inspect(
    sensor: Sensor, path: str, bands: tuple[str, ...] | None, units: Units | None
) -> SceneImage:
    """Find the bands, the units and the grid of an image.

    Args:
        sensor: Sensor that took it.
        path: One raster, or one per band if it holds `{band}`.
        bands: Names in the order of the file; found if None.
        units: Units of the values; found if None.

    Raises:
        UserError: a file cannot be read or does not say where it lies, or bands or units cannot be
            found or do not fit the values.
    """
    names, naming = (bands, "as you name them") if bands else _bands(sensor, path)
    with open_image(path, names, units or "linear", names) as image:
        grid = finest(image.grids)
        if not grid.located:
            raise UserError(
                f"{path} does not say where it lies; give it a CRS and a transform, for example "
                "with `gdal_translate -a_srs EPSG:32632 -a_ullr ...`"
            )
        # a thumbnail of overviews, not every pixel of a scene
        size = (min(grid.height, _THUMB), min(grid.width, _THUMB))
        sample = image.read(out_shape=size)
    sample = sample[:, _held(sample)]
    if not sample.size:
        raise UserError(f"{path} holds no data; is it the right file?")
    units, measure = (units, "as you say") if units else _units(sensor, sample)
    modality = Modality(tuple(names), units, RANGES[units])
    against = reason_against(sample, modality)
    if against:
        raise UserError(
            f"{path}: values between {sample.min():.4g} and {sample.max():.4g} can hardly be "
            f"{units}: {against}. Name the units by --{sensor}-units"
        )
    return SceneImage(path, modality, grid, f"bands {naming}; {units} {measure}")


def _held(sample: NDArray[Any]) -> NDArray[np.bool_]:
    # 0 in all bands is no data in products of both sensors
    held: NDArray[np.bool_] = np.isfinite(sample).all(0) & (sample != 0).any(0)
    return held


def _bands(sensor: Sensor, path: str) -> tuple[tuple[str, ...], str]:
    if "{band}" in path:
        known = SENTINEL1.bands if sensor == "s1" else SENTINEL2_L1C.bands
        names = tuple(band for band in known if Path(path.replace("{band}", band)).is_file())
        if not names:
            raise UserError(
                f"{path}: no file for any of {', '.join(known)}; name your bands by "
                f"--{sensor}-bands, or correct the path"
            )
        return names, "after the names of the files"
    with open_raster(Path(path)) as raster:
        texts, count = [text for text in raster.descriptions if text], raster.count
    pairs = zip(standard_names(texts), texts, strict=True)
    described = tuple(name or text for name, text in pairs)
    # descriptions that repeat, or that some bands lack, name no bands
    if len(set(described)) == count:
        _refuse_swapped(sensor, path, described)
        return described, "as the file describes them"
    usual = _USUAL[sensor].get(count)
    if usual is None:
        raise UserError(
            f"{path} has {count} bands without names, and that number is none of the usual "
            f"{', '.join(map(str, _USUAL[sensor]))}; name them by --{sensor}-bands"
        )
    return usual, "assumed in the usual order: the file does not name them"


def _refuse_swapped(sensor: Sensor, path: str, bands: tuple[str, ...]) -> None:
    # a file may hold bands of neither
    other, expected = (SENTINEL2_L1C, "VV, VH") if sensor == "s1" else (SENTINEL1, "B02, B03, ...")
    if {*bands} <= {*other.bands}:
        raise UserError(
            f"{path} holds {', '.join(bands)}; --{sensor} expects {expected}. Are --s1 and --s2 "
            "swapped?"
        )


def _units(sensor: Sensor, sample: NDArray[Any]) -> tuple[Units, str]:
    low, high = float(sample.min()), float(sample.max())
    spread = f"({low:.4g} to {high:.4g})"
    if sensor == "s1":
        # look at the sign: power is never negative, and decibels of land nearly always are
        if (sample < 0).mean() > 0.01:
            return "dB", f"because values are negative {spread}"
        return "linear", f"because no value is negative {spread}"
    # by the median: a few glints or clouds are brighter than a perfect diffuser
    if float(np.median(sample)) <= 2:
        return "reflectance", f"because values are small {spread}"
    return "DN", f"because values are large {spread}"
