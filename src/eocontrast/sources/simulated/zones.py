"""Land-cover classes of a scene: their shares and positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eocontrast.labels import DFC_CLASSES
from eocontrast.sources.simulated.noise import Field, fractal, parcel_mean
from eocontrast.sources.simulated.parcels import Parcels, river

COMPANIONS: dict[str, tuple[str, ...]] = {
    "Forest": ("Grassland", "Croplands", "Water", "Wetlands", "Shrubland"),
    "Shrubland": ("Grassland", "Barren", "Forest", "Croplands"),
    "Grassland": ("Croplands", "Shrubland", "Forest", "Water", "Barren"),
    "Wetlands": ("Water", "Grassland", "Forest", "Shrubland"),
    "Croplands": ("Forest", "Grassland", "Urban/Built-up", "Water"),
    "Urban/Built-up": ("Croplands", "Forest", "Grassland", "Water", "Barren"),
    "Barren": ("Shrubland", "Grassland", "Urban/Built-up", "Water"),
    "Water": ("Wetlands", "Forest", "Urban/Built-up", "Croplands", "Barren", "Grassland"),
}
"""Typical neighbours of a class; one to three of them complete a scene."""

ORDER = (
    "Water",
    "Wetlands",
    "Urban/Built-up",
    "Barren",
    "Croplands",
    "Forest",
    "Shrubland",
    "Grassland",
)
"""Order of placement: water takes low ground, wetlands its shore, and grass the remainder."""

INDEX = {name: index for index, name in enumerate(DFC_CLASSES)}


def draw_shares(rng: np.random.Generator, dominant: str) -> dict[str, float]:
    """Draw the share of each class; the dominant one covers half to three quarters."""
    count = int(rng.integers(1, 4))
    others = [str(name) for name in rng.choice(COMPANIONS[dominant], count, replace=False)]
    if "Wetlands" in (dominant, *others) and "Water" not in (dominant, *others):
        others[0 if others[0] != "Wetlands" else -1] = "Water"
    others = sorted(set(others) - {dominant}) or ["Water"]
    main = rng.uniform(0.5, 0.75)
    # at least 15 % of the rest each, so that a companion is more than a speck
    rest = 0.15 + rng.dirichlet(np.full(len(others), 2.0))
    return {dominant: main} | dict(zip(others, (1 - main) * rest / rest.sum(), strict=True))


def place_classes(
    rng: np.random.Generator,
    dominant: str,
    shares: dict[str, float],
    height: Field,
    fields: Parcels,
) -> NDArray[np.intp]:
    """Return class indices (size, size); each class takes its share of the most suitable pixels."""
    size = height.shape[0]
    # slopes of hillsides, without small bumps
    steep = np.hypot(*np.gradient(ndimage.gaussian_filter(height, 0.02 * size))) * size / 5
    names = [name for name in ORDER if name in shares]
    classes = np.full(height.shape, INDEX[names[-1]], dtype=np.intp)
    free = np.ones(height.shape, dtype=bool)
    for name in names[:-1]:  # the last one takes what the others leave
        if not free.any():
            break
        patchy = fractal(rng, size, 0.4 * size, 3.4)
        if name == "Water" and dominant != "Water" and rng.random() < 0.5:
            taken = free & river(rng, size, float(np.clip(shares[name] * size / 2.2, 2, 25)))
        else:
            water = classes == INDEX["Water"]
            score = _suitability(name, height, steep, water, patchy, fields)
            share = min(1, shares[name] / float(free.mean()))
            taken = free & (score >= np.quantile(score[free], 1 - share))
        classes[taken] = INDEX[name]
        free &= ~taken
    return classes


def _suitability(
    name: str,
    height: Field,
    steep: Field,
    water: NDArray[np.bool_],
    patchy: Field,
    fields: Parcels,
) -> Field:
    """Return the suitability of each pixel for a class, (size, size); only ranks matter."""
    if name == "Wetlands" and water.any():
        shore = ndimage.distance_transform_edt(~water).astype(np.float32)
        return np.asarray(-shore / (0.06 * len(height)) + 0.8 * patchy - height)
    score = {
        "Water": 0.25 * patchy - height,
        "Wetlands": 0.6 * patchy - height,
        "Urban/Built-up": patchy - 0.3 * steep,
        "Barren": height + 0.6 * steep + 0.5 * patchy,
        "Croplands": patchy - 0.6 * steep - 0.4 * height,
        "Forest": patchy + 0.5 * steep + 0.3 * height,
        "Shrubland": patchy + 0.4 * height,
        "Grassland": patchy,
    }[name]
    if name in ("Croplands", "Urban/Built-up"):
        return parcel_mean(score, fields)  # whole fields are ploughed or built upon
    if name in ("Forest", "Grassland"):
        score = 0.5 * score + 0.5 * parcel_mean(score, fields)  # partly cut by fields
    return ndimage.gaussian_filter(score, 1.5)  # no class is mapped pixel by pixel
