"""Learning curves, score(n) = top - gain * n ** -decay, drawn from their posterior.

Four numbers of labels with three seeds each cannot separate a slow curve with a high top from a
fast one with a low top. So no single curve is fitted: many are drawn, as often as the scores make
them likely, and their spread is the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DECAYS = np.geomspace(0.05, 2.0, 24)
"""Decays that are tried, equally likely beforehand: from nearly a straight line over log labels to
an early plateau.

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


_TRIES = 10
_REFUSED = 1e9
"""Log odds against a score outside of 0 to 1: such a curve is drawn only if no other is left."""


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
    """Draw curves from their posterior, given the scores of single runs.

    For a given decay a curve is linear in its scores at the fewest and at the most labels, and
    their posterior is a Student t. The prior is flat over all pairs that start above 0 and end
    below 1; a pair that falls is taken as a flat curve.

    Args:
        n_labels: Labels of each run, with at least three distinct numbers, (m,).
        scores: Score of each run, (m,), or (B, m) for B resampled test sets.
        draws: Curves per row of scores.
        rng: Source of the draws.

    Returns:
        B * draws curves; those of one row are neighbours.
    """
    whiten = _whitening(n_labels)
    rows = np.repeat(np.atleast_2d(scores) @ whiten.T, draws, axis=0)
    # on a grid of decays the other parameters have a posterior in closed form
    tried = [_candidates(decay, n_labels, whiten, rows, rng) for decay in DECAYS]
    top, gain, noise, log_odds = (np.concatenate(part, axis=1) for part in zip(*tried, strict=True))
    # Gumbel's trick: where the sum of log odds and this noise is largest is a draw by the odds
    chosen = (log_odds + rng.gumbel(size=log_odds.shape)).argmax(axis=1)
    at = np.arange(len(rows)), chosen
    decay = np.repeat(DECAYS, _TRIES)[chosen]
    return Curves(top[at], gain[at], decay, noise[at], float(n_labels.min()))


def _whitening(n_labels: Array) -> Array:
    """Return the matrix (m, m) that makes the errors of all runs independent and equally wide."""
    # runs with equal numbers of labels share a part of their error
    together = np.eye(len(n_labels)) + SHARED * (n_labels[:, None] == n_labels)
    weight = (n_labels / n_labels.min()) ** NOISE_DECAY
    whiten: Array = np.linalg.inv(np.linalg.cholesky(together)) * weight
    return whiten


def _candidates(
    decay: float, n_labels: Array, whiten: Array, rows: Array, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Draw top, gain, noise and log odds of curves of one decay, (B, tries) each."""
    first, last = n_labels.min() ** -decay, n_labels.max() ** -decay
    # run from 0 at the fewest labels to 1 at the most: scores at both ends are the coefficients
    share = (first - n_labels**-decay) / (first - last)
    q, r = np.linalg.qr(whiten @ np.stack([1 - share, share], axis=1))
    rotated = rows @ q
    # squares that the two ends leave, and those of one more observation
    squares = np.maximum((rows**2).sum(1) - (rotated**2).sum(1), 0) + NOISE**2
    # count m runs and that one more observation, less the two ends that are fitted
    freedom = len(n_labels) - 1
    # the posterior of a variance is an inverse chi-square (Gelman et al., Bayesian Data Analysis,
    # section 14.2)
    noise = np.sqrt(squares[:, None] / rng.chisquare(freedom, (len(rows), _TRIES)))
    drawn = rotated[:, None] + noise[..., None] * rng.standard_normal((len(rows), _TRIES, 2))
    low, high = np.moveaxis(drawn @ np.linalg.inv(r).T, -1, 0)
    ones = whiten.sum(1)
    means = rows @ ones / (ones @ ones)
    levels = means[:, None] + noise * rng.standard_normal(noise.shape) / np.linalg.norm(ones)
    # more labels never make the expected score worse: such a pair is drawn again as a constant
    falls = low > high
    low, high = (np.where(falls, np.clip(levels, 0, 1), end) for end in (low, high))
    gain = (high - low) / (first - last)
    top = low + gain * first
    outside = np.maximum(top - 1, 0) + np.maximum(-low, 0)
    # integrate both ends and the variance out: |X'X|^-1/2 s^-(n - p), with R of X = QR
    odds = -np.log(np.abs(np.diag(r))).sum() - freedom / 2 * np.log(squares)
    return top, gain, noise, odds[:, None] - _REFUSED * outside
