"""Mean and standard deviation in one pass, exact however the data are cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations per band; merges exactly (Chan et al. 1979)."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Moments of (bands, pixels), NaN left out."""
        count = np.isfinite(values).sum(axis=1).astype(np.float64)
        mean = np.nansum(values, axis=1) / np.maximum(count, 1)
        squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
        return cls(count, mean, squares)

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
