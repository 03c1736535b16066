"""Answers of a model on test patches: true and predicted classes in a table, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.evaluation.scores import Reliability
from eocontrast.labels import IGNORE_INDEX, SEPARATOR
from eocontrast.models.tasks import Task
from eocontrast.patches.store import PatchStore, Rows

NOTHING = "none"
"""Name for a patch without any of the classes."""


@dataclass
class Answers:
    """Predictions so far, with one set of sensors.

    Attributes:
        tables: One per chunk of patches: `id, group, actual, predicted, count`.
        reliability: Confidence of every prediction, and whether it was right.
    """

    tables: list[pd.DataFrame] = field(default_factory=list)
    reliability: Reliability = field(default_factory=Reliability)

    def add(
        self, store: PatchStore, rows: Rows, task: Task, truth: Tensor, probabilities: Tensor
    ) -> None:
        """Add the probabilities of some patches.

        Args:
            store: Patch store.
            rows: Rows of the patches.
            task: Task of the model.
            truth: True class of each patch (n,) or pixel (n, H, W), or whether a patch has each
                class (n, C).
            probabilities: Of classes, (n, C) or (n, C, H, W).
        """
        confidence, decided = _decide(task, probabilities)
        self.tables.append(_describe(store, rows, task, truth, decided))
        self.reliability.add(*_asked(task, truth, confidence, decided))


def _decide(task: Task, probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Return confidence and class of every patch or pixel, or whether it has each class."""
    if not task.exclusive:
        # each class is a question of its own, with yes or no as the answer
        return probabilities.maximum(1 - probabilities), probabilities > 0.5
    confidence, decided = probabilities.max(1)
    return confidence, decided


def _describe(
    store: PatchStore, rows: Rows, task: Task, truth: Tensor, decided: Tensor
) -> pd.DataFrame:
    """Tabulate true and predicted classes per patch: `id, group, actual, predicted, count`."""
    names = np.array([*store.classes], dtype=object)
    actual: Sequence[str] | NDArray[np.object_]
    predicted: Sequence[str] | NDArray[np.object_]
    if task.name == "multi_label":
        actual, predicted = _joined_names(truth > 0, names), _joined_names(decided, names)
        at, count = np.arange(len(rows)), np.ones(len(rows), dtype=np.int64)
    else:
        at, true, said, count = _pairs(truth, decided, len(names))
        actual, predicted = names[true], names[said]
    return pd.DataFrame(
        {
            "id": store.index["id"].to_numpy()[rows[at]],
            "group": store.groups[rows[at]],
            "actual": actual,
            "predicted": predicted,
            "count": count,
        }
    )


def _pairs(truth: Tensor, decided: Tensor, num_classes: int) -> tuple[NDArray[np.int64], ...]:
    """Return patch, true class, predicted class and count of all pairs that occur."""
    size = len(decided)
    said, true = decided.reshape(size, -1), truth.reshape(size, -1)
    # one number for patch, true and predicted class, so that one bincount counts all pairs
    place = torch.arange(size)[:, None] * num_classes**2 + true * num_classes + said
    # a number of their own for pixels to ignore: to leave them out takes longer than to count
    last = size * num_classes**2
    place = place.masked_fill_(true == IGNORE_INDEX, last)
    counts = torch.bincount(place.flatten(), minlength=last).numpy()
    occurring = np.flatnonzero(counts[:last])
    at, pair = np.divmod(occurring, num_classes**2)
    return at, *np.divmod(pair, num_classes), counts[occurring]


def _joined_names(held: Tensor, names: NDArray[np.object_]) -> list[str]:
    return [SEPARATOR.join(names[row]) or NOTHING for row in held.numpy()]


def _asked(
    task: Task, truth: Tensor, confidence: Tensor, decided: Tensor
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Return the confidence of every prediction with a true class, and whether it was right."""
    if not task.exclusive:
        return confidence.numpy(), (decided == (truth > 0)).numpy()
    right, asked = decided == truth, truth != IGNORE_INDEX
    if not asked.all():
        confidence, right = confidence[asked], right[asked]
    return confidence.numpy(), right.numpy()
