"""What all land covers of a scene share: weather, season, soils; and how a cover is described."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocontrast.sources.simulated.scene import Climate, Scene
from eocontrast.sources.simulated.spectra import Library, Spectra, load_library, wet_soil

WETNESS: dict[Climate, float] = {
    "boreal": 0.6,
    "temperate": 0.5,
    "mediterranean": 0.3,
    "arid": 0.1,
    "tropical": 0.45,
}
"""Mean soil moisture as a share of saturation."""


@dataclass(frozen=True)
class Ground:
    """State of a scene that both sensors see, each in its way.

    `moisture` of the soil 0..1, green share of herbs `green` 0..1, `wind` (m/s). `soils` and
    `straws` (3, 13) are the scene's few: soils and plants of one place resemble each other.
    """

    moisture: float
    green: float
    wind: float
    soils: Spectra
    straws: Spectra
    library: Library


@dataclass(frozen=True)
class Cover:
    """One class of a scene, P parcels: what covers them, what shows through, and how much of each.

    A pixel is `share` parts `front` (P, 13) and the rest `back` (P, 13). `share` (P,) is a parcel's
    mean; within a parcel it varies by `texture` (sd) over `grain` pixels.
    """

    front: Spectra
    back: Spectra
    share: NDArray[np.float64]
    texture: float
    grain: float


def mix(a: Spectra, b: Spectra, share: NDArray[np.floating] | float) -> Spectra:
    """`share` parts of spectra a and the rest b, by area."""
    weight = np.asarray(share, dtype=np.float32)[..., None]
    return np.asarray(weight * a + (1 - weight) * b, dtype=np.float32)


def draw_ground(scene: Scene) -> Ground:
    """Weather, soil and season of a scene."""
    rng, library = scene.rng(1), load_library()
    moisture = float(np.clip(WETNESS[scene.climate] + rng.normal(0, 0.2), 0, 1))
    green = float(np.clip(scene.greenness + rng.normal(0, 0.12), 0.02, 0.98))
    soils = library.draw(rng, 3, "soil")
    # soils of one scene differ by about a third of what soils of the world do
    soils = soils[:1] + np.float32(0.35) * (soils - soils[:1])
    straws = library.draw(rng, 3, "npv", "litter")
    # 3 m/s is the median over land and lakes; with the spread it gives water's backscatter
    wind = float(rng.lognormal(np.log(3.0), 0.5))
    return Ground(moisture, green, wind, wet_soil(soils, moisture), straws, library)
