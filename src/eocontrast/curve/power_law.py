"""Learning curves: score(n) = top - gain * n ** -decay, with the intervals that few points deserve.

Four numbers of labels with three seeds each do not tell a slow curve with a high top from a fast
one with a low top. So no single curve is fitted: many are drawn, as often as the scores make them
likely, and what they disagree about is the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DECAYS = np.geomspace(0.05, 2.0, 24)
"""Rates of the power law that are tried, equally likely beforehand: from nearly straight lines over
log labels to curves that are flat after few of them.

Those measured of large image classifiers lie between 0.07 and 0.6 (Hestness et al. 2017; Rosenfeld
et al. 2020); heads on frozen backbones level off sooner.
"""

NOISE = 0.01
"""A spread of scores that counts like one more observation: equal seeds make nothing certain."""

NOISE_DECAY = 1 / 6
"""Seeds differ less where labels are many: the spread falls as n ** -NOISE_DECAY.

It was .054 at 9 labels and .026 at 864, over the 16 arms of the simulated curve.
"""

SHARED = 1 / 3
"""Variance that all seeds at one number of labels share, over that of one seed.

They learn by one recipe from much the same patches, and no curve is exactly a power law, so more
seeds alone do not bring a point onto the curve. It was .33 over the same 16 arms.
"""

_TRIES = 10
_REFUSED = 1e9
"""Log odds that a score outside of 0 to 1 costs: such a curve is drawn where no other is left."""


@dataclass(frozen=True)
class Curves:
    """Curves, as many of a kind as the scores make it likely: score(n) = top - gain * n ** -decay.

    Attributes:
        top: score of endless labels, (D,), at most 1.
        gain: how far a single label is from it, (D,); not negative, so no curve falls.
        decay: how fast that shrinks, (D,).
        noise: spread of a run's score at the fewest labels, (D,).
        fewest: labels at the first point; nothing is said of fewer.
    """

    top: Array
    gain: Array
    decay: Array
    noise: Array
    fewest: float

    def scores(self, n_labels: float) -> Array:
        """Expected score with so many labels, (D,)."""
        scores: Array = self.top - self.gain * n_labels**-self.decay
        return scores

    def measured(self, n_labels: float, seeds: int, rng: np.random.Generator) -> Array:
        """What the mean of so many new runs may come to, (D,)."""
        spread = self.noise * (n_labels / self.fewest) ** -NOISE_DECAY * np.sqrt(SHARED + 1 / seeds)
        measured: Array = self.scores(n_labels) + spread * rng.standard_normal(len(spread))
        return measured

    def labels_needed(self, target: float) -> Array:
        """Labels with which each curve reaches a score, the inverse of `scores`, (D,).

        Returns:
            `fewest` where fewer may do, and infinity where the top is not above the target.
        """
        above = self.top - target
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            # as logarithms: ratios near 0 to large powers overflow
            needed = np.exp((np.log(self.gain) - np.log(above)) / self.decay)
        return np.where(above > 0, np.maximum(needed, self.fewest), np.inf)


def fit(n_labels: Array, scores: Array, draws: int, rng: np.random.Generator) -> Curves:
    """Draw curves from their posterior, given the scores of single runs.

    For a given decay a curve is linear in its scores at the fewest and at the most labels, and
    their posterior is a Student t. Beforehand all pairs of them are equally likely with which the
    curve starts above 0 and ends below 1; a pair that falls is taken as a flat curve.

    Args:
        n_labels: of each run, three distinct numbers at least, (m,).
        scores: of each run, (m,), or (B, m) for as many resampled test sets.
        draws: curves a row of scores.
        rng: source of the draws.

    Returns:
        B * draws curves; those of one row of scores are neighbours.
    """
    whiten = _whitening(n_labels)
    rows = np.repeat(np.atleast_2d(scores) @ whiten.T, draws, axis=0)
    tried = [_candidates(decay, n_labels, whiten, rows, rng) for decay in DECAYS]
    top, gain, noise, log_odds = (np.concatenate(part, axis=1) for part in zip(*tried, strict=True))
    # Gumbel's trick: where the sum of log odds and this noise is largest is a draw by the odds
    chosen = (log_odds + rng.gumbel(size=log_odds.shape)).argmax(axis=1)
    at = np.arange(len(rows)), chosen
    decay = np.repeat(DECAYS, _TRIES)[chosen]
    return Curves(top[at], gain[at], decay, noise[at], float(n_labels.min()))


def _whitening(n_labels: Array) -> Array:
    """What makes the errors of all runs independent and as wide as at the fewest labels, (m, m)."""
    together = np.eye(len(n_labels)) + SHARED * (n_labels[:, None] == n_labels)
    weight = (n_labels / n_labels.min()) ** NOISE_DECAY
    whiten: Array = np.linalg.inv(np.linalg.cholesky(together)) * weight
    return whiten


def _candidates(
    decay: float, n_labels: Array, whiten: Array, rows: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Top, gain, noise and log odds of curves of one decay, (B, tries) each."""
    first, last = n_labels.min() ** -decay, n_labels.max() ** -decay
    share = (first - n_labels**-decay) / (first - last)
    q, r = np.linalg.qr(whiten @ np.stack([1 - share, share], axis=1))
    rotated = rows @ q
    # a row's squares beyond the two ends, and one more observation's
    squares = np.maximum((rows**2).sum(1) - (rotated**2).sum(1), 0) + NOISE**2
    freedom = len(n_labels) - 1
    noise = np.sqrt(squares[:, None] / rng.chisquare(freedom, (len(rows), _TRIES)))
    drawn = rotated[:, None] + noise[..., None] * rng.standard_normal((len(rows), _TRIES, 2))
    low, high = np.moveaxis(drawn @ np.linalg.inv(r).T, -1, 0)
    ones = whiten.sum(1)
    means = rows @ ones / (ones @ ones)
    levels = means[:, None] + noise * rng.standard_normal(noise.shape) / np.linalg.norm(ones)
    falls = low > high
    low, high = (np.where(falls, np.clip(levels, 0, 1), end) for end in (low, high))
    gain = (high - low) / (first - last)
    top = low + gain * first
    outside = np.maximum(top - 1, 0) + np.maximum(-low, 0)
    odds = -np.log(np.abs(np.diag(r))).sum() - freedom / 2 * np.log(squares)
    return top, gain, noise, odds[:, None] - _REFUSED * outside
