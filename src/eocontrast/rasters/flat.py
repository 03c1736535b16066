"""Areas of one image whose pixels hold exactly the same values, which no ground does.

Fill that no header declares may be any number: 0 to which an offset was added, 255, or -25 dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import whole_numbers

MIN_SHARE = 0.02
"""Least share of an image's pixels that is worth a word."""

SOLID = 0.5
"""Least share of an area whose neighbours are all of the area: whole numbers repeat by chance."""

JUMP = 0.15
"""Least step at the edge of an area, in interquartile ranges of the other pixels.

Values that were clipped reach their limit gradually, and fill does not.
"""


@dataclass(frozen=True)
class FlatArea:
    """Pixels with exactly the same values.

    Attributes:
        values: Value of each band.
        share: Share of the pixels with data.
    """

    values: tuple[float, ...]
    share: float

    def __str__(self) -> str:
        """Say what was found and what it may be."""
        distinct = dict.fromkeys(f"{value:g}" for value in self.values)
        bands = " in all bands" if len(self.values) > len(distinct) == 1 else ""
        return (
            f"exactly {', '.join(distinct)}{bands} in {self.share:.1%} of the pixels, all in flat "
            "areas, which looks like fill that no header declares"
        )


def flat_area(
    values: NDArray[Any], missing: NDArray[np.bool_], limits: tuple[float, float]
) -> FlatArea | None:
    """Return the largest area of an image that looks like fill; None if there is none.

    Args:
        values: (bands, H, W).
        missing: Pixels without data, (H, W).
        limits: Range to which values are clipped. Areas above it are clouds. Below it, one band may
            be dark, but not all bands at one number, such as 1000 after an offset of -1000.
    """
    present = ~missing
    needed = MIN_SHARE * present.sum()
    inner = _inner(values, present, needed)
    # 8 bits leave no value to spare: black is water in a picture of radar
    if inner is None or _eight_bits(values[:, present]):
        return None
    held = values[:, inner]
    numbers, counts = np.unique(held[0], return_counts=True)
    held = held[:, held[0] == numbers[counts.argmax()]]
    vectors, counts = np.unique(held, axis=1, return_counts=True)
    vector = vectors[:, counts.argmax()]
    area = (values == vector[:, None, None]).all(axis=0) & present
    if area.sum() < needed or inner[area].mean() < SOLID or (area == present).all():
        return None
    # bands of one number are no spectrum; other areas must reach the edge, as outside of a swath
    shared = len(vector) > 1 and bool((vector == vector[0]).all())
    if (vector >= limits[1]).all() or (not shared and (vector <= limits[0]).all()):
        return None
    if not (shared or _reaches_edge(area)) or _step(values, area, present) < JUMP:
        return None
    return FlatArea(tuple(vector.tolist()), float(area.sum() / present.sum()))


def empty_block(values: NDArray[Any], missing: NDArray[np.bool_]) -> tuple[int, float] | None:
    """Return the band that alone is 0 in a rectangle, and the share of the pixels in it.

    A tile that was never written reads as 0. Dark ground may be 0 too, but it has no such outline.

    Args:
        values: (bands, H, W).
        missing: Pixels without data, (H, W).
    """
    present = ~missing
    pixels = int(np.count_nonzero(present))
    # a few dark pixels may happen to form a rectangle
    least = max(64, MIN_SHARE * pixels)
    for place, band in enumerate(values):
        empty = band == 0
        if np.count_nonzero(empty) < least:
            continue
        empty &= present
        count = int(np.count_nonzero(empty))
        if count < least or count == pixels:
            continue
        rows, cols = (np.flatnonzero(empty.any(axis=axis)) for axis in (1, 0))
        box = (rows[-1] - rows[0] + 1) * (cols[-1] - cols[0] + 1)
        if count > 0.98 * box and not _eight_bits(values[:, present]):
            return place, count / pixels
    return None


def _inner(
    values: NDArray[Any], present: NDArray[np.bool_], needed: float
) -> NDArray[np.bool_] | None:
    """Return the pixels that equal all their neighbours in all bands; None if they are few."""
    inner = present.copy()
    for band in values:
        down, right = band[1:] == band[:-1], band[:, 1:] == band[:, :-1]
        inner[1:] &= down
        inner[:-1] &= down
        inner[:, 1:] &= right
        inner[:, :-1] &= right
        # the first band of most images already shows that there is none
        if np.count_nonzero(inner) < max(needed * SOLID, 4):
            return None
    return inner


def _eight_bits(pixels: NDArray[Any]) -> bool:
    return bool(pixels.min() >= 0) and bool(pixels.max() <= 255) and whole_numbers(pixels)


def _reaches_edge(area: NDArray[np.bool_]) -> bool:
    edge = np.concatenate([area[0], area[-1], area[:, 0], area[:, -1]])
    return bool(edge.sum() >= min(area.shape) / 8)


def _step(values: NDArray[Any], area: NDArray[np.bool_], present: NDArray[np.bool_]) -> float:
    """Return the median step at the edge of an area, in interquartile ranges of the other pixels.

    The band with the largest step counts.
    """
    across = [(area[1:] != area[:-1]) & present[1:] & present[:-1],
              (area[:, 1:] != area[:, :-1]) & present[:, 1:] & present[:, :-1]]  # fmt: skip
    if not any(map(np.any, across)):
        return np.inf
    steps = []
    for band in values.astype(np.float64):
        jumps = [np.abs(np.diff(band, axis=axis))[edge] for axis, edge in enumerate(across)]
        quarters = np.percentile(band[present & ~area], (25, 75))
        steps.append(np.median(np.concatenate(jumps)) / max(quarters[1] - quarters[0], 1e-12))
    return float(max(steps))
