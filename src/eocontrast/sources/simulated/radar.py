"""Sentinel-1 images: backscatter of the ground in VV and VH."""

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
"""Equivalent number of looks of high-resolution ground-range products (ESA)."""


@dataclass(frozen=True)
class Echo:
    """Backscatter of a class in dB; pairs are (VV, VH).

    Attributes:
        median: median over the world.
        scene: standard deviation between scenes.
        parcel: standard deviation between parcels.
        share: change from no cover to full cover, zero at the covered share `usual`.
        usual: covered share at which the median applies.
        moisture: change from dry to saturated soil.
        pixel: standard deviation of texture.
    """

    median: tuple[float, float]
    scene: tuple[float, float]
    parcel: tuple[float, float]
    share: tuple[float, float]
    usual: float
    moisture: float
    pixel: float


# Medians of real points by land cover (wetlands: between grass and water). Speckle accounts for
# 2.2 dB of their sd and these columns for the rest. Crops, towns and bare ground vary most, up to
# 8 dB between samples.
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
    """Return backscatter (2, size, size) in dB."""
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
    """Draw the mean backscatter (2,) of a class in this scene in dB."""
    common, separate = rng.standard_normal(), rng.standard_normal(2)
    spread = np.array(echo.scene) * (0.8 * common + 0.6 * separate)  # VV and VH correlate at .64
    moist = echo.moisture * (ground.moisture - 0.4)
    # 0.1 dB per degree over plants (Small 2011: gamma nought would be flat), from mid-swath
    mean = np.array(echo.median) + spread + moist - 0.1 * (incidence - 38.5)
    return np.asarray(mean, dtype=np.float32)


def _wind(speed: float, incidence: float) -> Pairs:
    """Return the backscatter of water (2,) in dB, relative to 3 m/s at mid-swath.

    Power grows with wind speed to the 1.6 in VV and to the 1.2 in VH, and with steeper incidence,
    roughly as in geophysical model functions. The spread matches real water, 4 dB.
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
    """Return the deviations (2, K) of the K pixels of a class from the scene's mean in dB."""
    texture = echo.pixel * smooth_noise(rng, len(mask), 0.7)[mask]
    gain = np.array(echo.share, dtype=np.float32)[:, None]
    cover = gain * (surface.share[mask] - np.float32(echo.usual))
    parcels = rng.standard_normal((2, int(land.parcels.max()) + 1), dtype=np.float32)
    # correlate VV and VH at 0.7; 0.7^2 + 0.7^2 = 0.98 nearly keeps the variance
    parcels[1] = 0.7 * parcels[0] + 0.7 * parcels[1]
    parcels *= np.array(echo.parcel, dtype=np.float32)[:, None]
    return np.asarray(texture + cover + parcels[:, land.parcels[mask]], dtype=np.float32)


def _corners(rng: np.random.Generator, land: Landscape) -> Pairs:
    """Draw double bounces at walls (2, K) in dB: a twentieth of the K urban pixels shine."""
    count = int(land.mask("Urban/Built-up").sum())
    shine = (rng.random(count) < 0.05) * np.minimum(6 + rng.exponential(4.0, count), 20)
    # the corner's second bounce keeps the polarisation, so VH gains less
    return np.stack([shine, 0.7 * shine]).astype(np.float32)


def _foreshortening(slope: Field, incidence: float, *, east: bool) -> Field:
    """Return the gain of slopes that face the radar, (size, size) in dB.

    Ascending passes look east, descending passes west. `slope` is the rise eastwards.
    """
    angle = np.radians(incidence) - np.arctan(slope if east else -slope)
    # area of a slope in the slant plane (Small 2011), capped as terrain flattening would
    ratio = np.tan(np.radians(incidence)) / np.tan(np.maximum(angle, 0.15))
    return np.asarray(np.clip(10 * np.log10(np.maximum(ratio, 0.1)), -5, 7), dtype=np.float32)


def _detect(rng: np.random.Generator, power: Pairs) -> Pairs:
    """Apply resolution, speckle and noise to power (2, size, size), and convert it to dB."""
    # the resolution of 20 x 22 m at 10 m spacing blurs scene and speckle alike
    mean = ndimage.gaussian_filter(power, (0, 0.6, 0.6), mode="nearest", truncate=3)
    speckled = mean * speckle(rng, mean.shape)
    # residual after subtracting noise of -25 to -30 dB
    floor = 10 ** rng.uniform(-4.0, -3.4)
    noise = floor * rng.gamma(LOOKS, 1 / LOOKS, mean.shape).astype(np.float32)
    # the median of this speckle is 0.45 dB below its mean, and the classes' medians include speckle
    return np.asarray(10 * np.log10(speckled + noise) + 0.45, dtype=np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return multiplicative speckle of mean 1 and `LOOKS` looks, correlated between neighbours.

    Averaging over a kernel w multiplies the looks by 1 / sum(w^2), so the white field has that many
    fewer. Neighbours at 10 m correlate at about 0.3, as in ground-range products.
    """
    kernel = np.exp(-0.5 * (np.arange(-2, 3) / 0.5) ** 2)
    kernel /= kernel.sum()
    looks = LOOKS * float((kernel**2).sum()) ** 2
    field = rng.gamma(looks, 1 / looks, shape).astype(np.float32)
    for axis in (-2, -1):
        field = ndimage.convolve1d(field, kernel, axis=axis, mode="wrap")
    return field
