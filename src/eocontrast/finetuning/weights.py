"""Weights that let rare classes count as much as frequent ones in the loss."""

from __future__ import annotations

import torch
from torch import Tensor

from eocontrast.models.tasks import Task, patch_targets
from eocontrast.patches.store import PatchStore, Rows


def balanced_weights(store: PatchStore, task: Task, rows: Rows) -> Tensor:
    """Return the weight of each class, (C,), from the labels that are trained on alone.

    A class with n_c of n labels has the weight n / (C n_c), so all classes have the same sum of
    weights, as with `balanced` in scikit-learn. Several labels per patch are as many questions with
    two answers: a positive label of class c has the weight (n - n_c) / n_c, a negative one 1.

    Args:
        store: Patch store.
        task: Task; segmentation counts pixels, the others patches.
        rows: Rows of the store that are trained on.
    """
    targets = patch_targets(store, task)[torch.from_numpy(rows)]
    if task.name == "segmentation" and store.shares is not None:
        # the index has the shares, so no mask is read
        counts = torch.from_numpy(store.shares[rows]).sum(0)
    elif task.exclusive:
        counts = torch.bincount(targets, minlength=len(store.classes)).float()
    else:
        counts = targets.sum(0)
    present = counts > 0
    if task.exclusive:
        weights = counts.sum() / (present.sum() * counts)
    else:
        weights = (len(rows) - counts) / counts
    # a class without labels has no loss to weigh; as a negative label it counts as it is
    return torch.where(present, weights, 1.0)
