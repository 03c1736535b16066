"""Intervals that resample seeds and test groups, the same ones for every arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A point estimate and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: NDArray[np.float64]) -> Interval:
        """Percentile interval of bootstrap samples."""
        tail = (1 - LEVEL) / 2
        low, high = np.nanquantile(samples, [tail, 1 - tail])
        return cls(value, float(low), float(high))


class Resampling:
    """Which seeds and which test groups each of B replicates draws, with replacement.

    Every arm and fraction uses the same draws, so differences between them are paired.
    """

    def __init__(
        self, groups: NDArray[np.object_], seeds: tuple[int, ...], samples: int, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.groups, self.seeds = np.unique(groups), seeds
        draws = rng.integers(len(self.groups), size=(samples, len(self.groups)))
        # how often each group is in each replicate, (B, G)
        counts = [np.bincount(d, minlength=len(self.groups)) for d in draws]
        self.weights = np.stack(counts).astype(np.float64)
        self.seed_draws = rng.integers(len(seeds), size=(samples, len(seeds)))

    def average_accuracy(
        self, predictions: pd.DataFrame, num_classes: int
    ) -> tuple[float, NDArray[np.float64]]:
        """AA of one arm at one fraction, mean over seeds, and the same in every replicate, (B,).

        Args:
            predictions: columns `seed, group, label, prediction`, every test patch for every seed.
            num_classes: C.
        """
        runs = [predictions[predictions["seed"] == seed] for seed in self.seeds]
        everywhere = np.ones((1, len(self.groups)))
        values = [float(self._scores(run, num_classes, everywhere)[0]) for run in runs]
        per_seed = np.stack([self._scores(run, num_classes, self.weights) for run in runs], axis=1)
        drawn = np.take_along_axis(per_seed, self.seed_draws, axis=1)
        return float(np.mean(values)), drawn.mean(axis=1)

    def _scores(
        self, run: pd.DataFrame, num_classes: int, weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        group = np.searchsorted(self.groups, run["group"].to_numpy(dtype=object))
        cell = group * num_classes + run["label"].to_numpy()
        hit = (run["label"] == run["prediction"]).to_numpy()
        shape, cells = (len(self.groups), num_classes), len(self.groups) * num_classes
        support = weights @ np.bincount(cell, minlength=cells).reshape(shape)
        hits = weights @ np.bincount(cell[hit], minlength=cells).reshape(shape)
        recall = np.where(support > 0, hits / np.maximum(support, 1), np.nan)
        scores: NDArray[np.float64] = np.nanmean(recall, axis=1)
        return scores
