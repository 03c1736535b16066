"""Sentinel-2 images: from ground reflectance to top-of-atmosphere digital numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eocontrast.sources.simulated.noise import Field, fractal
from eocontrast.sources.simulated.scene import SEASONS, Scene
from eocontrast.sources.simulated.spectra import CENTRES

# side of a band's native pixel in 10 m pixels
FACTORS = (6, 1, 1, 1, 2, 2, 2, 1, 2, 6, 6, 2, 2)
# declination of the sun in mid-season, degrees
DECLINATION = dict(zip(SEASONS, (9.0, 19.0, -9.0, -19.0), strict=True))
# signal to noise at ESA's reference radiances, and those as reflectance at 45 degrees (rounded)
SIGNAL_TO_NOISE = np.array([1372, 214, 249, 230, 253, 220, 227, 221, 161, 222, 390, 159, 167])
REFERENCE = np.array([0.30, 0.28, 0.30, 0.30, 0.22, 0.22, 0.25, 0.42, 0.24, 0.05, 0.08, 0.07, 0.08])


@dataclass(frozen=True)
class Sky:
    """Sun and air of one acquisition.

    Attributes:
        zenith: sun zenith in radians.
        azimuth: sun azimuth in radians.
        aerosol: optical depth at 550 nm.
        angstrom: Angstrom exponent of the aerosol.
        vapour: water vapour in cm.
        cirrus: reflectance of cirrus.
    """

    zenith: float
    azimuth: float
    aerosol: float
    angstrom: float
    vapour: float
    cirrus: float


def draw_sky(scene: Scene) -> Sky:
    """Draw the sun at half past ten in the morning, and the day's air."""
    rng = scene.rng(3)
    declination = np.radians(DECLINATION[scene.season] + rng.normal(0, 3))
    # turn 15 degrees an hour: 10:30, when Sentinel-2 passes (ESA), is 22.5 before noon
    latitude, hour = np.radians(scene.latitude), np.radians(-22.5)
    height = np.sin(latitude) * np.sin(declination)
    height += np.cos(latitude) * np.cos(declination) * np.cos(hour)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(latitude) * np.sin(declination)
    north -= np.sin(latitude) * np.cos(declination) * np.cos(hour)
    return Sky(
        # keep the sun above 20 degrees, as `plan_scenes` does
        zenith=float(np.arccos(np.clip(height, np.sin(np.radians(20)), 1))),
        azimuth=float(np.arctan2(east, north)),
        # AERONET's global median is 0.12 with a factor of two either way
        aerosol=float(rng.lognormal(np.log(0.12), 0.6)),
        angstrom=float(rng.normal(1.2, 0.3)),
        vapour=float(rng.lognormal(np.log(2.6 if scene.climate == "tropical" else 1.5), 0.4)),
        cirrus=float(rng.exponential(0.0008)),
    )


def sense_s2(scene: Scene, reflectance: NDArray[np.float32], slope: Field) -> NDArray[np.uint16]:
    """Return digital numbers (13, size, size) of level 1C.

    Args:
        scene: the scene, for its position and season.
        reflectance: reflectance of the ground, (13, size, size).
        slope: rise southwards and eastwards, (2, size, size).
    """
    sky, rng = draw_sky(scene), scene.rng(4)
    lit = illumination(slope, sky)
    # haze drifts: a tenth of the aerosol varies over kilometres
    haze = 1 + np.float32(0.1) * fractal(rng, scene.pixels, scene.pixels, 4.0)
    numbers = np.empty(reflectance.shape, dtype=np.uint16)
    for band in range(13):
        top = _through_air(reflectance[band] * lit, band, sky, haze)
        numbers[band] = _detect(rng, top, band)
    return numbers


def illumination(slope: Field, sky: Sky) -> Field:
    """Return the light on a slope relative to flat ground, (size, size).

    Only half of the cosine law applies: sky light and terrain correction weaken it.
    """
    down, right = slope  # southwards and eastwards, so the normal points (-right, down, 1)
    sun = (np.sin(sky.azimuth) * np.sin(sky.zenith), np.cos(sky.azimuth) * np.sin(sky.zenith))
    cosine = -right * sun[0] + down * sun[1] + np.cos(sky.zenith)
    cosine /= np.sqrt(1 + right**2 + down**2) * np.cos(sky.zenith)
    return np.asarray(np.clip(1 + 0.5 * (cosine - 1), 0.3, 1.6), dtype=np.float32)


def _through_air(ground: Field, band: int, sky: Sky, haze: Field) -> Field:
    """Return reflectance above the air (size, size) by single scattering (Vermote et al. 1997)."""
    micron, sun = CENTRES[band] / 1000, np.cos(sky.zenith)
    # molecules at sea level (Hansen and Travis 1974)
    rayleigh = 0.008569 * micron**-4 * (1 + 0.0113 * micron**-2 + 0.00013 * micron**-4)
    aerosol = haze * np.float32(sky.aerosol * (0.55 / micron) ** sky.angstrom)
    angle = np.pi - sky.zenith  # between sunbeam and a view straight down
    # phase functions: 3/4 (1 + cos^2) for molecules, about .25 backwards for aerosol (g = .65)
    path = (rayleigh * 0.75 * (1 + np.cos(angle) ** 2) + aerosol * 0.25 * 0.92) / (4 * sun)
    down_and_up = (0.5 * rayleigh + 0.16 * aerosol) * (1 + 1 / sun)
    albedo = 0.45 * rayleigh + 0.12 * aerosol
    top = path + np.exp(-down_and_up) * ground / (1 - albedo * ground)
    return np.asarray(top * _gases(band, sky) + sky.cirrus, dtype=np.float32)


def _gases(band: int, sky: Sky) -> float:
    """Return the two-way transmission of ozone, oxygen and water vapour.

    Bands at 945 and 1373 nm sit on water's absorption: at 1.5 cm about a third passes the first
    (Gao and Goetz 1990) and less than one percent the second.
    """
    mass = 1 + 1 / np.cos(sky.zenith)
    ozone = (0, 0.006, 0.028, 0.014, 0.006, 0.003, 0, 0, 0, 0, 0, 0, 0)[band]
    vapour = (0, 0, 0.002, 0.005, 0.02, 0.02, 0.003, 0.03, 0.002, 0.57, 2.9, 0.008, 0.025)[band]
    return float(np.exp(-ozone * mass - vapour * np.sqrt(sky.vapour * mass)))


def _detect(rng: np.random.Generator, top: Field, band: int) -> NDArray[np.uint16]:
    """Blur, sample at the band's native pixel, add noise, and repeat pixels on the 10 m grid.

    SEN12MS was exported from Earth Engine, whose default resampling is the nearest neighbour.
    """
    factor, size = FACTORS[band], len(top)
    pad = -size % factor
    if factor > 1:
        padded = np.pad(top, ((0, pad), (0, pad)), mode="edge")
        side = (size + pad) // factor
        top = padded.reshape(side, factor, side, factor).mean(axis=(1, 3))
    # the response at half the sampling rate is .15 to .3; the block's mean has .64 of it already
    blurred = ndimage.gaussian_filter(
        top, 0.55 if factor == 1 else 0.45, mode="nearest", truncate=3
    )
    dark, shot = 0.5, 0.5  # half the noise variance at the reference is the photons'
    variance = (REFERENCE[band] / SIGNAL_TO_NOISE[band]) ** 2
    sigma = np.sqrt(variance * (dark + shot * np.maximum(blurred, 0) / REFERENCE[band]))
    noisy = blurred + sigma * rng.standard_normal(blurred.shape, dtype=np.float32)
    # reflectance x 10,000, at least 1: 0 stands for no data in level 1C
    numbers = np.clip(np.rint(noisy * 1e4), 1, 65534).astype(np.uint16)
    return np.asarray(numbers.repeat(factor, axis=0).repeat(factor, axis=1)[:size, :size])
