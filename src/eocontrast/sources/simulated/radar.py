"""From the ground to Sentinel-1's backscatter in VV and VH."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eocontrast.sources.simulated.ground import Ground
from eocontrast.sources.simulated.landscape import Landscape
from eocontrast.sources.simulated.noise import Field, smooth_noise
from eocontrast.sources.simulated.scene import Scene
from eocontrast.sources.simulated.surface import Surface

LOOKS = 4.4
"""Equivalent number of looks of ground-range detected products, high resolution (ESA)."""


@dataclass(frozen=True)
class Echo:
    """Backscatter of a class in dB, pairs for (VV, VH).

    `median` over the world, and what it varies by: `scene` and `parcel` (sd), `share` (change from
    no cover to full cover, zero at `usual`, which is set so that the median comes out), `moisture`
    (change from dry to saturated soil), and `pixel` (sd of texture).
    """

    median: tuple[float, float]
    scene: tuple[float, float]
    parcel: tuple[float, float]
    share: tuple[float, float]
    usual: float
    moisture: float
    pixel: float


# Medians are those of real points by land cover (wetlands: between grass and water). Speckle is
# 2.2 dB of their sd, the columns here make up the rest. Crops, towns and bare ground differ most
# from place to place, by up to 8 dB between samples.
ECHOES = {
    "Forest": Echo((-8.2, -14.2), (0.8, 0.9), (0.4, 0.5), (1.5, 2.0), 0.85, 0.5, 0.7),
    "Shrubland": Echo((-9.5, -15.7), (1.4, 1.3), (0.5, 0.5), (2.0, 2.5), 0.6, 1.5, 0.6),
    "Grassland": Echo((-10.7, -17.4), (1.3, 1.8), (0.5, 0.7), (0.5, 2.0), 0.65, 2.5, 0.4),
    "Wetlands": Echo((-10.0, -17.0), (1.8, 1.8), (0.8, 0.9), (0.0, 1.5), 0.65, 0.0, 0.6),
    "Croplands": Echo((-9.9, -17.5), (1.5, 1.8), (1.0, 1.2), (-0.5, 3.5), 0.5, 3.0, 0.3),
    "Urban/Built-up": Echo((-6.7, -14.9), (2.0, 2.0), (1.6, 1.5), (4.0, 3.0), 0.7, 0.0, 1.5),
    "Barren": Echo((-9.7, -16.9), (2.2, 2.8), (0.8, 0.8), (1.0, 1.0), 0.5, 3.5, 0.7),
    "Water": Echo((-19.7, -26.8), (1.0, 1.2), (0.0, 0.0), (0.0, 0.0), 0.0, 0.0, 0.3),
}

Pairs = NDArray[np.float32]
"""Decibels of VV and VH, (2, ...)."""


def sense_s1(scene: Scene, land: Landscape, surface: Surface, ground: Ground) -> Pairs:
    """Backscatter (2, size, size) in dB."""
    rng = scene.rng(5)
    # the swath's incidence runs from 31 to 46 degrees; across one scene it hardly changes
    incidence = float(rng.uniform(31, 46))
    offsets = {name: _scene_offset(rng, echo, ground, incidence) for name, echo in ECHOES.items()}
    offsets["Water"] += _wind(ground.wind, incidence)
    decibel = np.zeros((2, scene.pixels, scene.pixels), dtype=np.float32)
    for name, echo in ECHOES.items():
        mask = land.mask(name)
        if mask.any():
            decibel[:, mask] = offsets[name][:, None] + _within(rng, echo, mask, land, surface)
    # a damp hollow: one sd of moisture within a scene is 0.06 of saturation, 3 dB span it all
    decibel += 0.2 * surface.damp * ~land.mask("Water")
    decibel[:, land.mask("Urban/Built-up")] += _corners(rng, land)
    decibel[:, surface.hedge] += 1.5  # bushes scatter like small trees
    decibel -= 4.0 * land.road  # asphalt mirrors the beam away
    decibel += _foreshortening(land.slope[1], incidence, east=rng.random() < 0.5)
    power = np.float32(10) ** (decibel / 10)
    # ponds between reeds are open water: powers add by area
    reeds = land.mask("Wetlands")
    pond = (1 - surface.share[reeds]) * 10 ** (offsets["Water"][:, None] / 10)
    power[:, reeds] = power[:, reeds] * surface.share[reeds] / ECHOES["Wetlands"].usual + pond
    return _detect(rng, power.astype(np.float32))


def _scene_offset(rng: np.random.Generator, echo: Echo, ground: Ground, incidence: float) -> Pairs:
    """Mean backscatter (2,) of a class in this scene, dB."""
    common, own = rng.standard_normal(), rng.standard_normal(2)
    spread = np.array(echo.scene) * (0.8 * common + 0.6 * own)  # VV and VH correlate at .64
    moist = echo.moisture * (ground.moisture - 0.4)
    # 0.1 dB a degree over plants (Small 2011: gamma nought would be flat), from the mid-swath
    mean = np.array(echo.median) + spread + moist - 0.1 * (incidence - 38.5)
    return np.asarray(mean, dtype=np.float32)


def _wind(speed: float, incidence: float) -> Pairs:
    """Backscatter of water (2,) relative to 3 m/s at mid-swath, dB.

    Grows with the wind's power 1.6 in VV and 1.2 in VH, and steeper beams see more of it, roughly
    as in the geophysical models; chosen so that the spread is that of real water, 4 dB.
    """
    slope = -0.25 * (incidence - 38.5)
    return np.asarray(np.array([16.0, 12.0]) * np.log10(speed / 3) + slope, dtype=np.float32)


def _within(
    rng: np.random.Generator,
    echo: Echo,
    mask: NDArray[np.bool_],
    land: Landscape,
    surface: Surface,
) -> Pairs:
    """How the K pixels of a class differ from the scene's mean, (2, K) dB."""
    texture = echo.pixel * smooth_noise(rng, len(mask), 0.7)[mask]
    gain = np.array(echo.share, dtype=np.float32)[:, None]
    cover = gain * (surface.share[mask] - np.float32(echo.usual))
    parcels = rng.standard_normal((2, int(land.parcels.max()) + 1), dtype=np.float32)
    parcels[1] = 0.7 * parcels[0] + 0.7 * parcels[1]
    parcels *= np.array(echo.parcel, dtype=np.float32)[:, None]
    return np.asarray(texture + cover + parcels[:, land.parcels[mask]], dtype=np.float32)


def _corners(rng: np.random.Generator, land: Landscape) -> Pairs:
    """Walls that return the beam twice: a twentieth of the K urban pixels shine, (2, K) dB."""
    count = int(land.mask("Urban/Built-up").sum())
    shine = (rng.random(count) < 0.05) * np.minimum(6 + rng.exponential(4.0, count), 20)
    # the corner's second bounce keeps the polarisation, so VH gains less
    return np.stack([shine, 0.7 * shine]).astype(np.float32)


def _foreshortening(slope: Field, incidence: float, *, east: bool) -> Field:
    """Slopes that face the radar return more, (size, size) dB; the sun shades other ones.

    Ascending passes look east, descending ones west. `slope` is the rise eastwards.
    """
    angle = np.radians(incidence) - np.arctan(slope if east else -slope)
    # area of a slope in the slant plane (Small 2011), capped as terrain flattening would
    ratio = np.tan(np.radians(incidence)) / np.tan(np.maximum(angle, 0.15))
    return np.asarray(np.clip(10 * np.log10(np.maximum(ratio, 0.1)), -5, 7), dtype=np.float32)


def _detect(rng: np.random.Generator, power: Pairs) -> Pairs:
    """Resolution, speckle, noise: (2, size, size) power to dB."""
    # 20 x 22 m resolution at 10 m spacing blurs scene and speckle alike
    mean = ndimage.gaussian_filter(power, (0, 0.6, 0.6), mode="nearest", truncate=3)
    speckled = mean * speckle(rng, mean.shape)
    # what is left after the noise of -25 to -30 dB was subtracted
    floor = 10 ** rng.uniform(-4.0, -3.4)
    noise = floor * rng.gamma(LOOKS, 1 / LOOKS, mean.shape).astype(np.float32)
    # this speckle's median lies 0.45 dB below its mean, and the classes' medians hold speckle
    return np.asarray(10 * np.log10(speckled + noise) + 0.45, dtype=np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Multiplicative speckle of mean 1 and `LOOKS` looks, correlated between neighbours.

    Averaging over a kernel w multiplies the looks by 1 / sum(w^2), so the white field starts with
    that many fewer. Neighbours at 10 m correlate at about .3, as in ground-range products.
    """
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    kernel /= kernel.sum()
    looks = LOOKS * float((kernel**2).sum()) ** 2
    field = rng.gamma(looks, 1 / looks, shape).astype(np.float32)
    for axis in (-2, -1):
        field = ndimage.convolve1d(field, kernel, axis=axis, mode="wrap")
    return field
