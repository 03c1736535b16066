"""Intervals that resample seeds and test groups, the same ones for every arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eocontrast.evaluation.scores import Tally, scores

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A point estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: NDArray[np.float64]) -> Interval:
        """Return the percentile interval of bootstrap samples."""
        tail = (1 - LEVEL) / 2
        low, high = np.nanquantile(samples, [tail, 1 - tail])
        return cls(value, float(low), float(high))


def group_intervals(counts: Tally, exclusive: bool, samples: int) -> dict[str, Interval]:
    """Return every score of one model, with its interval over test groups (G, C, 4)."""
    resampling = Resampling(groups=len(counts), seeds=1, samples=samples)
    names = scores(counts.sum(0), exclusive)
    return {name: Interval.of(*resampling.score(counts[None], name, exclusive)) for name in names}


class Resampling:
    """Seeds and test groups that each of B replicates draws with replacement.

    Every arm and fraction uses the same draws, so differences between them are paired.
    """

    def __init__(self, groups: int, seeds: int, samples: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        draws = rng.integers(groups, size=(samples, groups))
        # how often each group is in each replicate, (B, G)
        counts = [np.bincount(drawn, minlength=groups) for drawn in draws]
        self.weights = np.stack(counts).astype(np.float64)
        self.seed_draws = rng.integers(seeds, size=(samples, seeds))

    def score(
        self, tallies: Tally, metric: str, exclusive: bool
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the mean score of one arm at one fraction, and of every replicate, (B,).

        Args:
            tallies: Counts by seed and test group, (S, G, C, 4).
            metric: Name of the score.
            exclusive: Whether exactly one class is right.
        """
        values = scores(tallies.sum(axis=1), exclusive)[metric]
        resampled = np.einsum("bg,sgck->bsck", self.weights, tallies)
        per_seed = scores(resampled, exclusive)[metric]
        drawn = np.take_along_axis(per_seed, self.seed_draws, axis=1)
        return float(values.mean()), drawn.mean(axis=1)
