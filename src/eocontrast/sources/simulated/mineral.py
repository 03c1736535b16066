"""Covers with few or no plants: rock, towns and water."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocontrast.sources.simulated.ground import Cover, Ground, mix
from eocontrast.sources.simulated.spectra import water, wet_soil

ROOFS = ("comp_shingle", "concrete_tile", "metal", "tile", "wood_shingle", "paint", "asphalt")
PAVED = ("road", "parking_lot", "sidewalk", "asphalt", "driveway")


def barren(rng: np.random.Generator, ground: Ground, count: int) -> Cover:
    """Draw two kinds of rock or sand in drifts, with less than 10 % plants as in IGBP."""
    rock = ground.library.draw(rng, 2, "soil", "sand", "gravel")
    rock = ground.soils[:1] + np.float32(0.6) * (wet_soil(rock, 0.3) - ground.soils[:1])
    front = mix(ground.library.canopies(rng, count, (0.5, 2)), rock[:1], rng.uniform(0, 0.08))
    share = rng.uniform(0.3, 0.7, count)
    return Cover(front, np.repeat(rock[1:], count, axis=0), share, texture=0.2, grain=10.0)


def open_water(rng: np.random.Generator, ground: Ground, count: int) -> Cover:
    """Draw clear to turbid water.

    Medians are 2 mg/m3 chlorophyll, 1.6 g/m3 sediment and 0.2/m dissolved matter.
    """
    sky = 0.004 + 0.0015 * ground.wind * rng.random()  # rougher water glints more
    algae, sediment, cdom = rng.lognormal((0.7, 0.5, -1.5), (0.9, 1.0, 0.8))
    clear = water(algae, sediment, cdom, sky)
    turbid = water(1.5 * algae, sediment * rng.lognormal(0.8, 0.5), 1.3 * cdom, sky)
    front, back = (np.repeat(kind[None], count, axis=0) for kind in (clear, turbid))
    return Cover(front, back, np.full(count, 0.6), texture=0.2, grain=20.0)


def urban(rng: np.random.Generator, ground: Ground, block: NDArray[np.intp]) -> Cover:
    """Draw roofs and pavements of a few materials between gardens; blocks are dense or leafy.

    Args:
        rng: random numbers.
        ground: soils and season of the scene.
        block: city block of each of the P roofs and yards, (P,).
    """
    count, library = len(block), ground.library
    # walls and trees shade a fifth of a town (10 to 30 % in Small 2003)
    material = np.float32(0.8) * np.concatenate(
        [library.draw(rng, 4, *ROOFS), library.draw(rng, 3, *PAVED)]
    )
    lawn = mix(library.canopies(rng, 1, (1, 6)), ground.straws[:1], 0.3 + 0.6 * ground.green)
    garden = mix(lawn, ground.soils[rng.integers(0, 3, count)], rng.uniform(0.4, 0.9))
    blocks = int(block.max()) + 1
    dense = np.clip(rng.uniform(0.35, 0.8) + rng.normal(0, 0.2, blocks), 0.05, 0.95)
    dense[rng.random(blocks) < 0.05] = 0.05  # parks
    usual = rng.integers(0, 7, blocks)[block]  # houses of one block were built together
    front = mix(material[usual], material[rng.integers(0, 7, count)], 0.65)
    roofed = rng.random(count) < dense[block]
    share = np.where(roofed, 0.9, 0.2)  # 10 m pixels hold both
    return Cover(front, garden, share, texture=0.1, grain=0.7)
