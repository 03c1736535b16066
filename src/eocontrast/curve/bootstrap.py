"""Intervals that resample pretrainings, seeds and test groups, the same ones for every arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
        if np.isnan(samples).all():
            return cls(value, np.nan, np.nan)
        tail = (1 - LEVEL) / 2
        low, high = np.nanquantile(samples, [tail, 1 - tail])
        return cls(value, float(low), float(high))


def group_intervals(counts: Tally, exclusive: bool, samples: int) -> dict[str, Interval]:
    """Return every score of one model, with its interval over test groups (G, C, 4)."""
    # resample test groups alone: a card describes one model, not its training (docs/evaluation.md)
    resampling = Resampling(groups=len(counts), seeds=1, samples=samples)
    names = scores(counts.sum(0), exclusive)
    return {name: Interval.of(*resampling.score(counts[None], name, exclusive)) for name in names}


class Resampling:
    """Pretrainings, seeds of fine-tuning and test groups that each of B replicates draws.

    A replicate draws pretrainings with replacement, then for each of them as many of its seeds as
    there are, also with replacement (a two-stage bootstrap, Davison and Hinkley 1997, section
    3.8). Every arm and fraction uses the same draws, so differences between them are paired.

    Args:
        groups: Number of test groups.
        seeds: Largest number of seeds of a point.
        samples: Number of replicates B.
        pretrainings: Largest number of pretrainings of an arm.
        seed: Seed of the draws.
    """

    def __init__(
        self, groups: int, seeds: int, samples: int, pretrainings: int = 1, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        # whole groups: neighbouring patches share weather and land, so they are no independent
        # draws
        draws = rng.integers(groups, size=(samples, groups))
        # how often each group is in each replicate, (B, G)
        counts = [np.bincount(drawn, minlength=groups) for drawn in draws]
        self.weights = np.stack(counts).astype(np.float64)
        # from 0 to 1, so that points with more or fewer seeds share them
        self.pretraining_draws = rng.random((samples, pretrainings))
        self.seed_draws = rng.random((samples, pretrainings, seeds))

    def score(
        self, tallies: Tally, metric: str, exclusive: bool, origins: Sequence[int] | None = None
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the mean score of one arm at one fraction, and of every replicate, (B,).

        Args:
            tallies: Counts by seed and test group, (S, G, C, 4).
            metric: Name of the score.
            exclusive: Whether exactly one class is right.
            origins: Pretraining that each seed started from, (S,); one for all by default.
        """
        values = scores(tallies.sum(axis=1), exclusive)[metric]
        # counts of groups add up, so a replicate needs no patch again
        resampled = np.tensordot(self.weights, tallies, axes=(1, 1))  # (B, S, C, 4)
        per_seed = scores(resampled, exclusive)[metric]
        share = self._shares(np.zeros(len(tallies)) if origins is None else np.array(origins))
        # a seed that was not drawn may have no score there: 0 times NaN would be NaN
        drawn = np.where(share > 0, per_seed * share, 0).sum(axis=1)
        return float(values.mean()), drawn

    def _shares(self, origins: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weight of each seed in the mean of each replicate, (B, S)."""
        members = [np.flatnonzero(origins == origin) for origin in np.unique(origins)]
        share = np.zeros((len(self.weights), len(origins)))
        for slot in range(len(members)):
            # a uniform number times the count, rounded down, is a draw with replacement
            chosen = (self.pretraining_draws[:, slot] * len(members)).astype(int)
            for number, seeds in enumerate(members):
                rows = np.flatnonzero(chosen == number)
                places = (self.seed_draws[rows, slot, : len(seeds)] * len(seeds)).astype(int)
                # every drawn pretraining counts alike, however many seeds it has
                weight = 1 / (len(members) * len(seeds))
                np.add.at(share, (rows[:, None], seeds[places]), weight)
        return share
