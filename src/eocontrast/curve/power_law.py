"""Learning curves, score(n) = top - gain * n ** -decay, fitted to noisy copies of few scores.

Four numbers of labels with three seeds each cannot separate a slow curve with a high top from a
fast one with a low top. So a curve is fitted to every copy, and their spread is the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import expit

Array = NDArray[np.float64]

DECAYS = (0.05, 2.0)
"""Slowest and fastest decay: from nearly a straight line over log labels to an early plateau.

Decays measured on large image classifiers lie between 0.07 and 0.6 (Hestness et al. 2017; Rosenfeld
et al. 2020). Heads on frozen backbones level off sooner.
"""

NOISE = 0.01
"""A spread of scores that counts like one more observation, so that equal seeds are not certain."""

NOISE_DECAY = 1 / 6
"""The spread over seeds falls as n ** -NOISE_DECAY.

It was 0.054 at 9 labels and 0.026 at 864, over the 16 arms of the simulated curve.
"""

SHARED = 1 / 3
"""Variance that all seeds at one number of labels share, over the variance of one seed.

Seeds share a recipe and many patches, and no curve is exactly a power law, so more seeds alone do
not bring a point onto the curve. It was 0.33 over the same 16 arms.
"""


@dataclass(frozen=True)
class Curves:
    """Curves that may have made the scores of an arm.

    Attributes:
        top: Score of endless labels, at most 1, (D,).
        gain: Distance of a single label from the top, (D,); never negative, so no curve falls.
        decay: Rate at which that distance shrinks, (D,).
        noise: Spread of a run's score at the fewest labels, (D,).
        fewest: Fewest labels that were tried; the curves hold from there on.
    """

    top: Array
    gain: Array
    decay: Array
    noise: Array
    fewest: float

    def scores(self, n_labels: float) -> Array:
        """Return the expected score with so many labels, (D,)."""
        scores: Array = self.top - self.gain * n_labels**-self.decay
        return scores

    def measured(self, n_labels: float, seeds: int, rng: np.random.Generator) -> Array:
        """Draw the mean score of so many new runs, (D,)."""
        spread = self.noise * (n_labels / self.fewest) ** -NOISE_DECAY * np.sqrt(SHARED + 1 / seeds)
        measured: Array = self.scores(n_labels) + spread * rng.standard_normal(len(spread))
        return measured

    def labels_needed(self, target: float) -> Array:
        """Return the labels at which each curve reaches a score, (D,).

        They are `fewest` if fewer may do, and infinite if the top is not above the target.
        """
        above = self.top - target
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            # as logarithms: ratios near 0 to large powers overflow
            needed = np.exp((np.log(self.gain) - np.log(above)) / self.decay)
        return np.where(above > 0, np.maximum(needed, self.fewest), np.inf)


def fit(n_labels: Array, scores: Array, draws: int, rng: np.random.Generator) -> Curves:
    """Fit curves to noisy copies of the mean scores (a parametric bootstrap).

    Args:
        n_labels: Labels of each run, with at least three distinct numbers, (m,).
        scores: Score of each run, (m,), or (B, m) for B resampled test sets.
        draws: Copies of each row of scores.
        rng: Source of the noise.

    Returns:
        B * draws curves; those of one row are neighbours.
    """
    counts, place, seeds = np.unique(n_labels, return_inverse=True, return_counts=True)
    rows = np.atleast_2d(scores)
    means = np.stack([rows[:, place == k].mean(axis=1) for k in range(len(counts))], axis=1)
    falls = (counts / counts[0]) ** -NOISE_DECAY
    spread = falls * np.sqrt(SHARED + 1 / seeds)
    ratios = counts / counts[0]
    centre = _fit(ratios, means.mean(axis=0), spread, np.zeros(3))
    misses = (rows.mean(axis=0) - _curve(ratios, centre)[place]) / falls[place]
    # three parameters take three degrees of freedom, and NOISE is one more observation
    squares, freedom = misses @ misses + NOISE**2, len(n_labels) - 3 + 1
    noise = np.sqrt(squares / rng.chisquare(freedom, len(rows) * draws))
    copies = np.repeat(means, draws, axis=0)
    copies += noise[:, None] * spread * rng.standard_normal(copies.shape)
    start = centre.clip(-3, 3)  # far out, a logistic function has no slope to follow
    logits = np.array([_fit(ratios, copy, spread, start) for copy in copies])
    low, rise, decay = _parameters(logits.T)
    top = low + (1 - low) * rise
    return Curves(top, (top - low) * counts[0] ** decay, decay, noise, float(counts[0]))


def _fit(ratios: Array, scores: Array, spread: Array, start: Array) -> Array:
    def misses(logits: Array) -> Array:
        return (_curve(ratios, logits) - scores) / spread

    def slopes(logits: Array) -> Array:
        return _slopes(ratios, logits) / spread[:, None]

    # scores of 0 or 1 drive logits to infinity: 100 steps are far enough
    found = least_squares(misses, start, slopes, method="lm", ftol=1e-6, xtol=1e-6, max_nfev=100)
    return np.asarray(found.x)


def _curve(ratios: Array, logits: Array) -> Array:
    low, rise, decay = _parameters(logits)
    scores: Array = low + (1 - low) * rise * (1 - ratios**-decay)
    return scores


def _slopes(ratios: Array, logits: Array) -> Array:
    # finite differences would vanish at a logit of almost 0
    low, rise, decay = _parameters(logits)
    rate, left, width = expit(logits[2]), ratios**-decay, np.log(DECAYS[1] / DECAYS[0])
    by_low = low * (1 - low) * (1 - rise * (1 - left))
    by_rise = (1 - low) * rise * (1 - rise) * (1 - left)
    by_decay = (1 - low) * rise * left * np.log(ratios) * decay * width * rate * (1 - rate)
    return np.stack([by_low, by_rise, by_decay], axis=1)


def _parameters(logits: Array) -> tuple[Array, Array, Array]:
    """Return score at the fewest labels, rise as a share of what is left to 1, and decay."""
    low, rise, rate = expit(logits)
    slow, fast = DECAYS
    return low, rise, slow * (fast / slow) ** rate
