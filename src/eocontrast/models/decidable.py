"""Reasons why a labelled data set gives scores without an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocontrast.models.tasks import Task, patch_targets
from eocontrast.patches.store import PatchStore, Rows


def no_interval(store: PatchStore, task: Task) -> list[str]:
    """Return the reasons why the scores of a task have no interval; none if they have one.

    An interval resamples test groups and label subsets. If there is one of them, or nothing to
    confuse, all replicates are equal, and an interval without width would look like certainty.

    Args:
        store: Patches with labels.
        task: What is scored.
    """
    train, test = store.labelled("train"), store.labelled("test")
    learnt, asked = _held(store, task, train), _held(store, task, test)
    reasons = []
    if len(groups := np.unique(store.groups[test])) < 2:
        reasons.append(
            f"the test split has {len(groups)} group; give the patches of each place a group of "
            "its own, so that two or more are tested"
        )
    if (learnt | asked).sum() < 2:
        reasons.append(f"all labels are {_names(store, learnt | asked)}; label a second class")
    elif np.unique(store.labels[train], return_counts=True)[1].max(initial=0) < 2:
        reasons.append("each class has one label to train on; label more patches of each")
    for split, lost in (("train", asked & ~learnt), ("test", learnt & ~asked)):
        if lost.any():
            reasons.append(
                f"the split {split} has no {_names(store, lost)}; label some there, or leave the "
                "class out"
            )
    return reasons


def _held(store: PatchStore, task: Task, rows: Rows) -> NDArray[np.bool_]:
    """Return whether each class is among the labels of these rows, (C,)."""
    if task.name == "segmentation" and store.shares is not None:
        return np.asarray((store.shares[rows] > 0).any(axis=0))
    targets = patch_targets(store, task).numpy()[rows]
    classes = np.arange(len(store.classes))
    if task.exclusive:
        return np.isin(classes, targets)
    return np.asarray((targets > 0).any(axis=0))


def _names(store: PatchStore, held: NDArray[np.bool_]) -> str:
    return ", ".join(name for name, has in zip(store.classes, held, strict=True) if has)
