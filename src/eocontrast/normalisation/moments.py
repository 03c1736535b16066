"""Mean and standard deviation in one pass, exact however the data are cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations per band; merges exactly (Chan et al. 1979)."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, bands: Iterable[NDArray[Any]]) -> Moments:
        """Moments of (pixels,) of each band, integers of 16 bits or floats; NaN is left out."""
        parts = np.array([_parts(band) for band in bands], dtype=np.float64)
        return cls(*parts.reshape(-1, 3).T)

    def times(self, factor: float) -> Moments:
        """Moments of the same sample, each value multiplied."""
        return Moments(self.count, self.mean * factor, self.squares * factor**2)

    @property
    def parts(self) -> tuple[NDArray[np.float64], ...]:
        """Count, mean and squares, (bands,) each."""
        return self.count, self.mean, self.squares

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together."""
        count = self.count + other.count
        weight = other.count / np.maximum(count, 1)
        delta = other.mean - self.mean
        squares = self.squares + other.squares + delta**2 * self.count * weight
        return Moments(count, self.mean + delta * weight, squares)

    @property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviation per band."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))


_ROW = 4096
"""Values that are summed at once: of more than 10,000 BLAS wakes its threads, for nothing."""


def _parts(band: NDArray[Any]) -> tuple[float, float, float]:
    """Count, mean and squares in one pass over a copy that fits the processor's cache."""
    if band.dtype.kind == "f":
        band = band[np.isfinite(band)]
    if not band.size:
        return 0.0, 0.0, 0.0
    return _of_floats(band) if band.dtype.kind == "f" else _of_integers(band)


def _of_integers(band: NDArray[np.integer]) -> tuple[float, float, float]:
    """Rounded once, at the end: sums of integers below 2^53 are exact in any order."""
    count = band.size
    rows = np.empty((-(-count // _ROW), _ROW))
    values = rows.reshape(-1)
    values[:count], values[count:] = band, 0
    total, squares = int(rows.sum()), int(np.vecdot(rows, rows).astype(np.int64).sum())
    return float(count), total / count, (squares * count - total**2) / count


def _of_floats(band: NDArray[np.floating]) -> tuple[float, float, float]:
    # about a value of the sample nothing cancels, and a band of one value has squares of exactly 0
    origin = float(band[0])
    values = band.astype(np.float64)
    values -= origin
    total = float(values.sum())
    # a dot product would wake BLAS' threads for nothing, and sum in an order of their number
    squares = float(np.einsum("p,p->", values, values)) - total**2 / band.size
    return float(band.size), origin + total / band.size, max(0.0, squares)
