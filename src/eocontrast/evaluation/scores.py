"""Scores from counts: a set of test groups is scored by adding up its counts.

Every score is a function of four counts per class over the whole data set: true and false positives
and negatives. A mean over batches would be NaN for a class that a batch does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eocontrast.labels import SEPARATOR

Tally = NDArray[np.float64]
"""True positives, false positives, false negatives, true negatives by class, (..., C, 4)."""


def tally(table: pd.DataFrame, classes: Sequence[str], groups: NDArray[np.object_]) -> Tally:
    """Count true and false positives and negatives of every test group, (G, C, 4).

    Args:
        table: Columns `group, actual, predicted, count`; classes by name, several joined by `|`.
        classes: Names of the classes, (C,).
        groups: Sorted names of the groups, (G,); every group of the table is among them.
    """
    actual, predicted = (_members(table[column], classes) for column in ("actual", "predicted"))
    cells = [actual & predicted, ~actual & predicted, actual & ~predicted, ~actual & ~predicted]
    counted = np.stack(cells, axis=-1) * table["count"].to_numpy(dtype=np.float64)[:, None, None]
    found = np.zeros((len(groups), len(classes), 4))
    # unbuffered: several rows belong to one group
    np.add.at(found, np.searchsorted(groups, table["group"].to_numpy(dtype=object)), counted)
    return found


def _members(names: pd.Series, classes: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each row names each class, (n, C)."""
    codes, distinct = pd.factorize(names)
    sets = [set(str(text).split(SEPARATOR)) for text in distinct]
    member = np.array([[name in held for name in classes] for held in sets], dtype=bool)
    return member.reshape(-1, len(classes))[codes]


def class_scores(counts: Tally) -> dict[str, NDArray[np.float64]]:
    """Return recall, F1 and IoU by class, (..., C); NaN for a class that does not occur."""
    hits, false, missed = counts[..., 0], counts[..., 1], counts[..., 2]
    # a class that the test split does not have says nothing about a model
    present = hits + missed > 0
    ratios = {
        "recall": (hits, hits + missed),
        "F1": (2 * hits, 2 * hits + false + missed),
        "IoU": (hits, hits + false + missed),
    }
    return {
        name: np.where(present, above / np.maximum(below, 1), np.nan)
        for name, (above, below) in ratios.items()
    }


def scores(counts: Tally, exclusive: bool) -> dict[str, NDArray[np.float64]]:
    """Return scores over all classes, (...); means leave out classes that do not occur.

    `AA` is the mean recall of the classes, `OA` the share of right answers: of patches or pixels
    where one class is right, else of yes-or-no decisions. `macro_F1` and `mIoU` are means over
    classes, `micro_F1` pools them (and equals OA where one class is right).

    Args:
        counts: Counts (..., C, 4), summed over the test groups to score.
        exclusive: Whether exactly one class is right.
    """
    by_class = class_scores(counts)
    hits, false, missed, rejected = np.moveaxis(counts.sum(axis=-2), -1, 0)
    # where one class is right, the absence of the others is no answer of its own
    right, asked = (hits, hits + missed) if exclusive else (hits + rejected, counts.sum((-2, -1)))
    pooled = 2 * hits + false + missed
    return {
        "AA": _mean(by_class["recall"]),
        "OA": right / np.maximum(asked, 1),
        "macro_F1": _mean(by_class["F1"]),
        "micro_F1": 2 * hits / np.maximum(pooled, 1),
        "mIoU": _mean(by_class["IoU"]),
    }


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan)


class Reliability:
    """Expected calibration error over equal-width bins (Guo et al. 2017, equation 3)."""

    def __init__(self, bins: int = 15) -> None:
        self.sums = np.zeros((bins, 3))

    def add(self, confidence: NDArray[np.floating], hit: NDArray[np.bool_]) -> None:
        """Count right and wrong predictions by their confidence in [0, 1]."""
        bins = len(self.sums)
        # (k / bins, (k + 1) / bins] is bin k, and 0 lies in the first
        at = np.clip(np.ceil(confidence.ravel() * bins).astype(int) - 1, 0, bins - 1)
        for column, weight in enumerate((None, confidence.ravel(), hit.ravel())):
            self.sums[:, column] += np.bincount(at, weight, minlength=bins)

    @property
    def error(self) -> float:
        """Return the mean gap between confidence and accuracy, weighted by the bins' counts."""
        count, confidence, hits = self.sums.T
        return float(np.abs(confidence - hits).sum() / max(1.0, count.sum()))
