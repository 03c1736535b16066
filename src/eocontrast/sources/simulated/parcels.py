"""Shapes on the land: fields, city blocks, roads and rivers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eocontrast.sources.simulated.noise import Field, cells

Parcels = NDArray[np.intp]


def rectangles(
    rng: np.random.Generator,
    size: int,
    estate: float,
    width: float,
    length: float,
    disorder: float,
) -> Parcels:
    """Return parcel numbers (size, size): strips in estates that share a direction.

    Args:
        rng: random numbers.
        size: pixels along one side.
        estate: mean diameter of an estate, in pixels.
        width: mean width of a strip, in pixels.
        length: mean length of a strip, in pixels.
        disorder: standard deviation of the estates' directions in radians.
    """
    block = cells(rng, size, estate)
    count = int(block.max()) + 1
    # neighbours share the direction of roads and relief, up to a right angle
    angle = rng.uniform(0, np.pi) + rng.normal(0, disorder, count)
    angle += np.pi / 2 * rng.integers(0, 2, count)
    spread = rng.lognormal(0, 0.3, count)
    shift = rng.uniform(0, 9, (2, count)).astype(np.float32)
    rows, columns = np.indices((size, size), dtype=np.float32)
    cos, sin, scale = (
        table.astype(np.float32)[block] for table in (np.cos(angle), np.sin(angle), spread)
    )
    u = (columns * cos + rows * sin) / (width * scale) + shift[0][block]
    v = (rows * cos - columns * sin) / (length * scale) + shift[1][block]
    # a slow wave makes some strips twice as wide as others; its slope stays below 1, so none folds
    u += 0.3 * np.sin(2.6 * u)
    v += 0.5 * np.sin(1.3 * np.floor(u) + v)
    across, along = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    key = (block.astype(np.int64) * 8192 + across + 4096) * 8192 + along + 4096
    return np.asarray(np.unique(key, return_inverse=True)[1].reshape(size, size), dtype=np.intp)


def roads(rng: np.random.Generator, size: int, count: int) -> Field:
    """Return the share of each pixel that roads cover, (size, size).

    A two-lane road with its verges is 7 to 12 m wide, so it fills most of a 10 m pixel.
    """
    share = np.zeros((size, size), dtype=np.float32)
    t = np.arange(-size, size, 0.5)
    for _ in range(count):
        angle, width = rng.uniform(0, np.pi), rng.uniform(0.35, 0.9)
        bend = 0.03 * size * np.sin(t * rng.uniform(1, 4) / size + rng.uniform(0, 6))
        centre = rng.uniform(0.15, 0.85, 2) * size
        columns = centre[0] + t * np.cos(angle) - bend * np.sin(angle)
        rows = centre[1] + t * np.sin(angle) + bend * np.cos(angle)
        inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
        share[rows[inside].astype(int), columns[inside].astype(int)] = width
    return share


def river(rng: np.random.Generator, size: int, width: float) -> NDArray[np.bool_]:
    """Return the mask (size, size) of a meandering river of `width` pixels."""
    t = np.arange(-0.8 * size, 0.8 * size, 0.25)
    # meanders are about eleven channel widths long (Leopold and Wolman 1960), amplitude a third
    length = max(11 * width, 24.0) * rng.uniform(0.8, 1.3)
    phase = (
        2 * np.pi * t / length + rng.uniform(0, 6) + 1.2 * np.sin(2 * np.pi * t / (2.3 * length))
    )
    swing = 0.3 * length * np.sin(phase) * (0.6 + 0.4 * np.sin(t / (3.1 * length) * 6))
    swing += 0.12 * size * np.sin(2 * np.pi * t / (1.4 * size) + rng.uniform(0, 6))
    angle = rng.uniform(0, 2 * np.pi)
    centre = rng.uniform(0.35, 0.65, 2) * size
    columns = centre[0] + t * np.cos(angle) - swing * np.sin(angle)
    rows = centre[1] + t * np.sin(angle) + swing * np.cos(angle)
    inside = (columns >= 0) & (columns < size) & (rows >= 0) & (rows < size)
    dry = np.ones((size, size), dtype=bool)
    dry[rows[inside].astype(int), columns[inside].astype(int)] = False
    return np.asarray(ndimage.distance_transform_edt(dry) <= width / 2)
