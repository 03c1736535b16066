"""Landscapes: relief, land cover, parcels and roads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eocontrast.labels import DFC_CLASSES
from eocontrast.sources.simulated.noise import Field, cells, edges, fractal
from eocontrast.sources.simulated.parcels import Parcels, rectangles, roads
from eocontrast.sources.simulated.scene import Climate, Scene
from eocontrast.sources.simulated.zones import draw_shares, place_classes

FOREST_IGBP: dict[Climate, tuple[int, ...]] = {
    "boreal": (1, 3, 5),
    "temperate": (4, 5, 1),
    "mediterranean": (2, 4, 1),
    "arid": (4,),
    "tropical": (2, 4),
}
"""IGBP 1 evergreen needleleaf, 2 evergreen and 4 deciduous broadleaf, 3 larch, 5 mixed."""


@dataclass(frozen=True)
class Landscape:
    """The landscape of a scene, as maps (size, size).

    Attributes:
        slope: rise southwards and eastwards, (2, size, size); zero on water.
        igbp: IGBP land cover, 1 to 17.
        dfc: DFC2020 class.
        parcels: numbers of fields, stands and city blocks.
        road: share of each pixel that is asphalt.
        shore: distance from water to land in pixels.
    """

    slope: Field
    igbp: NDArray[np.uint8]
    dfc: NDArray[np.uint8]
    parcels: Parcels
    road: Field
    shore: Field

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return the mask of a class."""
        return np.asarray(self.dfc == DFC_CLASSES[name])


def make_landscape(scene: Scene) -> Landscape:
    """Draw relief, classes and parcels of a scene."""
    rng, size = scene.rng(0), scene.pixels
    height = fractal(rng, size, 0.9 * size, 4.0)  # rain rounds the hills: smoother than a coast
    shares = draw_shares(rng, scene.dominant)
    field_size = rng.lognormal(0, 0.35)  # 60 m strips in Asia to 400 m in the Americas
    fields = rectangles(rng, size, 75 * field_size, 13 * field_size, 30 * field_size, 0.12)
    classes = place_classes(rng, scene.dominant, shares, height, fields)
    dfc = np.asarray(list(DFC_CLASSES.values()), dtype=np.uint8)[classes]
    parcels = _parcels(rng, dfc, fields)
    water = dfc == DFC_CLASSES["Water"]
    shore = np.full(dfc.shape, size) if water.all() else ndimage.distance_transform_edt(water)
    people = shares.get("Urban/Built-up", 0) > 0.1 or shares.get("Croplands", 0) > 0.2
    road = roads(rng, size, int(rng.integers(1, 4)) if people else int(rng.integers(0, 2)))
    streets = edges(parcels) & (dfc == DFC_CLASSES["Urban/Built-up"])
    road = np.maximum(road, np.float32(0.6) * streets) * ~water
    # 4 % rise in plains and hills, 14 % where rock shows (medians of the scenes)
    rise = np.float32((0.14 if shares.get("Barren", 0) > 0.2 else 0.04) * rng.lognormal(0, 0.5))
    slope = np.asarray(np.gradient(height))
    slope *= rise / np.sqrt((slope**2).sum(axis=0).mean()) * ~water
    igbp = _igbp(rng, scene, dfc, parcels)
    return Landscape(slope, igbp, dfc, parcels, road, shore.astype(np.float32))


def _parcels(rng: np.random.Generator, dfc: NDArray[np.uint8], fields: Parcels) -> Parcels:
    """Return parcel numbers (size, size) of fields, city blocks and natural stands."""
    size = dfc.shape[0]
    stands = cells(rng, size, 22, warp=5)  # 5 ha: stands, thickets, pastures
    number = np.where(dfc == DFC_CLASSES["Croplands"], 3 * fields, 3 * stands + 1)
    urban = dfc == DFC_CLASSES["Urban/Built-up"]
    if urban.any():
        blocks = rectangles(rng, size, 60, 9, 14, 0.25)  # city blocks of 90 m x 140 m
        number = np.where(urban, 3 * blocks + 2, number)
    return np.unique(number, return_inverse=True)[1].reshape(dfc.shape).astype(np.intp)


def _igbp(
    rng: np.random.Generator, scene: Scene, dfc: NDArray[np.uint8], parcels: Parcels
) -> NDArray[np.uint8]:
    """Return IGBP land cover (size, size) from 1 to 17, consistent with `IGBP_TO_DFC`."""
    count = int(parcels.max()) + 1
    types = rng.permutation(FOREST_IGBP[scene.climate])[:2]
    forest = rng.choice(types, count, p=(0.8, 0.2) if len(types) == 2 else (1.0,))
    shrub = 7 if scene.climate in ("arid", "boreal") else 6  # open or closed
    table = np.zeros((count, 11), dtype=np.uint8)
    table[:, [2, 4, 5, 7, 9, 10]] = (shrub, 10, 11, 13, 16, 17)
    table[:, 1] = forest
    table[:, 6] = rng.choice((12, 14), count, p=(0.85, 0.15))  # cropland, or a mosaic with nature
    return np.asarray(table[parcels, dfc])
