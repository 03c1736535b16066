"""Mean and standard deviation per band from exact sums of stored integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Modality

Sums = NDArray[np.int64]
"""Number of values, their sum, and the sum of their squares by band, shape (3, bands)."""


def band_sums(modality: Modality, stored: NDArray[np.integer]) -> Sums:
    """Sum the stored integers of one patch, clipped to the valid range as networks see them.

    Args:
        modality: Bands and units.
        stored: Integers of these bands, (bands, H, W); no data is left out.
    """
    storage = modality.storage
    limits = [limit / storage.step for limit in modality.valid_range]
    low, high = np.rint(np.clip(limits, *storage.limits)).astype(int)
    sums = []
    for band in stored.reshape(len(stored), -1):
        values = band
        if band.min() < low or band.max() > high:  # no data lies outside of every valid range
            values = band[band != storage.nodata].clip(low, high)
        # integers of 64 bits hold the squares of 2^31 pixels of 16 bits
        values = values.astype(np.int64)
        sums.append((values.size, values.sum(), values @ values))
    return np.array(sums, dtype=np.int64).T


def mean_and_sd(sums: NDArray[np.object_], step: float) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per band in units.

    Args:
        sums: Total of the sums of all patches as Python's integers, which cannot overflow.
        step: Size of one stored integer in units.
    """
    count, total, squares = np.maximum(sums[0], 1), sums[1], sums[2]
    variance = (squares * count - total**2) / count**2  # rounded once, so that nothing cancels
    sd = np.sqrt(variance.astype(np.float64))
    return (step * total / count).tolist(), (step * sd).tolist()
