"""Weather, season and soils that all land covers of a scene share, and the type of a cover."""

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
    """State of a scene's ground that both sensors see.

    Attributes:
        moisture: soil moisture from 0 to 1.
        green: green share of herbs from 0 to 1.
        wind: wind speed in m/s.
        soils: spectra (3, 13) of the scene's soils, which resemble each other.
        straws: spectra (3, 13) of the scene's dry plants.
        library: all spectra.
    """

    moisture: float
    green: float
    wind: float
    soils: Spectra
    straws: Spectra
    library: Library


@dataclass(frozen=True)
class Cover:
    """Cover of the P parcels of one class: a mixture of two spectra.

    Attributes:
        front: spectra of the cover, (P, 13).
        back: spectra of the ground that shows through, (P, 13).
        share: mean covered share of each parcel, (P,).
        texture: standard deviation of the share within a parcel.
        grain: correlation length of that variation in pixels.
    """

    front: Spectra
    back: Spectra
    share: NDArray[np.float64]
    texture: float
    grain: float


def mix(a: Spectra, b: Spectra, share: NDArray[np.floating] | float) -> Spectra:
    """Mix spectra by area: `share` of a and the rest of b."""
    weight = np.asarray(share, dtype=np.float32)[..., None]
    return np.asarray(weight * a + (1 - weight) * b, dtype=np.float32)


def draw_ground(scene: Scene) -> Ground:
    """Draw weather, soil and season of a scene."""
    rng, library = scene.rng(1), load_library()
    moisture = float(np.clip(WETNESS[scene.climate] + rng.normal(0, 0.2), 0, 1))
    green = float(np.clip(scene.greenness + rng.normal(0, 0.12), 0.02, 0.98))
    soils = library.draw(rng, 3, "soil")
    # soils of one scene differ about a third as much as soils of the world
    soils = soils[:1] + np.float32(0.35) * (soils - soils[:1])
    straws = library.draw(rng, 3, "npv", "litter")
    # 3 m/s is the median over land and lakes; with the spread it gives water's backscatter
    wind = float(rng.lognormal(np.log(3.0), 0.5))
    return Ground(moisture, green, wind, wet_soil(soils, moisture), straws, library)
