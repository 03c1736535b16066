"""Covers with plants: forest, shrubs, grass, crops and wetlands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocontrast.sources.simulated.ground import Cover, Ground, mix
from eocontrast.sources.simulated.spectra import Spectra, water, wet_soil

Codes = NDArray[np.uint8]
"""IGBP land cover of each parcel, (P,)."""


def _canopies(
    rng: np.random.Generator,
    ground: Ground,
    count: int,
    lai: tuple[float, float],
    chl: tuple[float, float] = (20, 60),
    lma: tuple[float, float] = (0.005, 0.025),
) -> Spectra:
    """Draw canopies (count, 13) of which 60 % is common to the scene and 40 % varies."""
    common = ground.library.canopies(rng, 1, lai, chl, lma)
    return mix(common, ground.library.canopies(rng, count, lai, chl, lma), 0.6)


def forest(rng: np.random.Generator, ground: Ground, igbp: Codes) -> Cover:
    """Draw crowns that shade each other, over litter and herbs; one stand in 25 is felled."""
    count = len(igbp)
    crowns = _canopies(rng, ground, count, (3, 9), (25, 60))
    deciduous = np.select([igbp == 4, igbp == 3, igbp == 5], [1.0, 1.0, 0.4], 0.05)
    # twigs over leaf litter; stands of one scene resemble each other
    bark = mix(ground.library.draw(rng, 1, "bark"), ground.library.draw(rng, 1, "litter"), 0.5)
    bark = mix(bark, ground.library.draw(rng, count, "bark", "litter"), 0.8)
    # PROSAIL knows no crowns: their shadows fill .3 to .6 of conifer stands (Peddle et al. 1999),
    # and about half as much of broadleaved ones
    shadow = np.where(np.isin(igbp, (1, 3, 5)), rng.normal(0.45, 0.07), rng.normal(0.22, 0.07))
    lit = 1 - np.clip(shadow + rng.normal(0, 0.04, count), 0.02, 0.65)
    front = mix(bark, crowns, deciduous * (1 - ground.green)) * lit[:, None].astype(np.float32)
    floor = mix(ground.straws[:1], ground.library.canopies(rng, count, (0.5, 3)), 0.6)
    share = np.where(rng.random(count) < 0.04, 0.3, rng.uniform(0.8, 0.97, count))
    return Cover(front, 0.7 * floor, share, texture=0.08, grain=0.7)


def shrubs(rng: np.random.Generator, ground: Ground, igbp: Codes) -> Cover:
    """Draw open or closed shrubs: thick leaves with little chlorophyll over soil and straw."""
    count = len(igbp)
    leaves = _canopies(rng, ground, count, (1, 4), (20, 45), (0.012, 0.025))
    dry = np.clip(rng.normal(0.45 * (1 - ground.green), 0.1), 0, 0.6)
    front = 0.85 * mix(ground.straws[1:2], leaves, dry)  # thickets shade themselves a little
    soil = ground.soils[rng.integers(0, 2, count)]
    mean = np.where(igbp == 7, rng.uniform(0.2, 0.5), rng.uniform(0.45, 0.8))  # IGBP parts at 60 %
    share = np.clip(mean + rng.normal(0, 0.1, count), 0.1, 0.9)
    back = mix(ground.straws[:1], soil, rng.uniform(0.1, 0.5))
    return Cover(front, back, share, texture=0.12, grain=1.0)


def grass(rng: np.random.Generator, ground: Ground, igbp: Codes) -> Cover:
    """Draw thin leaves that dry with the season, mown and grazed at different times."""
    count = len(igbp)
    blades = _canopies(rng, ground, count, (0.6, 5), (20, 50), (0.005, 0.012))
    dry = np.clip(1 - ground.green + rng.normal(0, 0.1) + rng.normal(0, 0.08, count), 0, 1)
    front = mix(ground.straws[rng.integers(0, 2, count)], blades, dry)
    share = np.clip(rng.uniform(0.45, 0.9) + rng.normal(0, 0.1, count), 0.15, 0.98)
    return Cover(front, ground.soils[rng.integers(0, 2, count)], share, texture=0.07, grain=2.0)


def crops(rng: np.random.Generator, ground: Ground, igbp: Codes) -> Cover:
    """Draw two to five crops per scene; fields of one crop are similar, and some lie fallow."""
    count, kinds = len(igbp), int(rng.integers(2, 6))
    kind = rng.choice(kinds, count, p=rng.dirichlet(np.full(kinds, 2.0)))
    lai, chl, lma = (1.5, 8.0), (25.0, 60.0), (0.005, 0.013)
    leaves = ground.library.canopies(rng, kinds, lai, chl, lma)[kind]
    leaves = mix(leaves, ground.library.canopies(rng, count, lai, chl, lma), 0.7)
    # growth runs from sown (0) to full cover (1), then ripens to straw (2)
    phase = np.clip(ground.green + rng.uniform(-0.45, 0.45, kinds), 0, 1.1)
    phase = np.where(rng.random(kinds) < 0.35 * (1 - ground.green), 1.7, phase)
    growth = np.clip(phase[kind] + rng.normal(0, 0.12, count), 0, 2)
    fallow = rng.random(count) < 0.08 + 0.25 * (1 - ground.green)
    growth = np.where(fallow, rng.uniform(0, 0.15, count), growth)
    share = np.clip(np.where(growth < 1, growth**1.3, 0.95), 0.02, 0.97)
    straw = ground.straws[rng.integers(1, 3, count)]
    front = mix(straw, leaves, np.clip(growth - 1, 0, 1))
    return Cover(front, ground.soils[rng.integers(0, 3, count)], share, texture=0.05, grain=3.0)


def wetlands(rng: np.random.Generator, ground: Ground, igbp: Codes) -> Cover:
    """Draw reeds and sedges with ponds and mud between them."""
    count = len(igbp)
    reeds = _canopies(rng, ground, count, (1, 7))
    dry = np.clip(rng.normal(0.85 * (1 - ground.green), 0.12), 0, 0.95)
    # eutrophic and brown: median 4.5 mg/m3 chlorophyll and 4.5 g/m3 sediment, 1.5/m dissolved
    pond = water(rng.lognormal(1.5, 0.7), rng.lognormal(1.5, 0.8), 1.5, 0.008)
    mud = wet_soil(ground.library.draw(rng, 1, "soil"), 1.0)
    back = np.repeat(mix(pond[None], mud, rng.uniform(0.3, 1)), count, axis=0)
    share = np.clip(rng.uniform(0.4, 0.85) + rng.normal(0, 0.15, count), 0.1, 0.95)
    front = 0.85 * mix(ground.straws[2:], reeds, dry)
    return Cover(front, back, share, texture=0.16, grain=3.0)
