"""Reflectance of the ground, and the share of each pixel that is covered, which radar sees too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocontrast.labels import DFC_CLASSES
from eocontrast.sources.simulated import mineral, plants
from eocontrast.sources.simulated.ground import Cover, Ground, mix
from eocontrast.sources.simulated.landscape import Landscape
from eocontrast.sources.simulated.noise import Field, cells, edges, fractal, smooth_noise
from eocontrast.sources.simulated.scene import Scene

PLANTS = {
    "Forest": plants.forest,
    "Shrubland": plants.shrubs,
    "Grassland": plants.grass,
    "Wetlands": plants.wetlands,
    "Croplands": plants.crops,
}


@dataclass(frozen=True)
class Surface:
    """The surface that both sensors see, as maps (size, size).

    Attributes:
        reflectance: reflectance of each band, (13, size, size).
        share: covered share of each pixel (leaves, roofs).
        damp: soil moisture relative to the surroundings, mean 0 and sd 1.
        hedge: mask of field boundaries with bushes.
    """

    reflectance: NDArray[np.float32]
    share: Field
    damp: Field
    hedge: NDArray[np.bool_]


def make_surface(scene: Scene, land: Landscape, ground: Ground) -> Surface:
    """Draw every class, then damp hollows, hedges and roads across the classes."""
    rng, size = scene.rng(2), scene.pixels
    reflectance = np.zeros((size, size, 13), dtype=np.float32)
    share = np.zeros((size, size), dtype=np.float32)
    for name in DFC_CLASSES:
        mask = land.mask(name)
        if mask.any():
            parcel, cover = _cover(rng, name, mask, land, ground)
            share[mask] = _shares(rng, cover, mask, parcel)
            if name == "Water":  # clear far from the shore, mud and bottom near it
                share[mask] *= 1 - np.exp(-land.shore[mask] / 12)
            contrast = cover.front - cover.back
            reflectance[mask] = cover.back[parcel] + share[mask, None] * contrast[parcel]
    damp = fractal(rng, size, 0.15 * size, 3.0) * ~land.mask("Water")
    # one sd of moisture within a scene is about 0.06 of saturation (Famiglietti et al. 2008)
    reflectance *= np.exp(np.float32(-0.05) * damp)[..., None]
    hedge = land.mask("Croplands") & edges(land.parcels) & (rng.random() < 0.5)
    bush = 0.8 * ground.library.canopies(rng, 1, (1, 5))
    reflectance[hedge] = mix(bush, reflectance[hedge], 0.5)
    road = land.road > 0
    asphalt = 0.85 * ground.library.draw(rng, 1, "road", "asphalt")
    reflectance[road] = mix(asphalt, reflectance[road], land.road[road])
    bands = np.ascontiguousarray(np.moveaxis(reflectance, -1, 0))
    return Surface(np.clip(bands, 0.0005, 1.2, out=bands), share, damp, hedge)


def _cover(
    rng: np.random.Generator,
    name: str,
    mask: NDArray[np.bool_],
    land: Landscape,
    ground: Ground,
) -> tuple[NDArray[np.intp], Cover]:
    """Return the parcel number (K,) of each of the K pixels of a class, and its cover."""
    parcels = land.parcels[mask]
    if name == "Urban/Built-up":  # a block holds many roofs and yards, of about 25 m
        parcels = parcels * mask.size + cells(rng, len(mask), 2.5)[mask]
    _, first, number = np.unique(parcels, return_index=True, return_inverse=True)
    if name in PLANTS:
        return number, PLANTS[name](rng, ground, land.igbp[mask][first])
    if name == "Urban/Built-up":
        return number, mineral.urban(rng, ground, land.parcels[mask][first])
    maker = mineral.barren if name == "Barren" else mineral.open_water
    return number, maker(rng, ground, len(first))


def _shares(
    rng: np.random.Generator, cover: Cover, mask: NDArray[np.bool_], parcel: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return the covered share of each of the K pixels, (K,)."""
    texture = smooth_noise(rng, len(mask), cover.grain)[mask]
    share = cover.share[parcel] + cover.texture * texture
    return np.clip(share, 0, 1).astype(np.float32)
