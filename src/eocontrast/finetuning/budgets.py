"""The labels that one point of the curve may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eocontrast.config.arms import Arm
from eocontrast.finetuning.subsets import hold_out, labelled_subset
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class Budget:
    """Rows of the store whose labels are paid for, to train on and to select the epoch by."""

    train: Rows
    validation: Rows

    @property
    def n_labels(self) -> int:
        """Return the number of labels paid for, validation included."""
        return len(self.train) + len(self.validation)


def label_budget(store: PatchStore, fraction: float, seed: int, val_fraction: float) -> Budget:
    """Draw a label budget from the training split; budgets of one seed are nested.

    Every task draws the same patches, stratified by their most frequent class.

    Raises:
        UserError: the fraction holds fewer patches than there are classes.
    """
    pool = store.labelled("train")
    rows = pool[labelled_subset(store.labels[pool], fraction, seed)]
    train, validation = hold_out(store.labels[rows], store.groups[rows], val_fraction, seed)
    return Budget(rows[train], rows[validation])


def labelled_pixels(store: PatchStore, budget: Budget) -> int:
    """Count the pixels with a class in the masks of a budget; 0 without masks."""
    if store.shares is None or not store.has_masks:
        return 0
    # shares of the classes add up to the labelled part of a patch
    covered = store.shares[budget.train].sum() + store.shares[budget.validation].sum()
    return round(float(covered) * store.patch_size**2)


def labelled_shapes(store: PatchStore, budget: Budget) -> int:
    """Count the polygons or points that label the patches of a budget; 0 if labels are others.

    One that reaches over several patches counts once: somebody drew it once.
    """
    if store.shapes is None:
        return 0
    # seeds draw patches, so the number of shapes differs between seeds of one fraction
    texts = (text for rows in (budget.train, budget.validation) for text in store.shapes[rows])
    return len({number for text in texts for number in text.split()})


def unusable(store: PatchStore, arm: Arm, fractions: Sequence[float]) -> dict[str, str]:
    """Return the fractions that an arm cannot be trained on, with the reason."""
    if arm.task == "segmentation" and not store.has_masks:
        return dict.fromkeys(map(str, fractions), "segmentation needs masks, and there are none")
    return too_small(store, fractions)


def too_small(store: PatchStore, fractions: Sequence[float]) -> dict[str, str]:
    """Return the fractions that hold fewer patches than classes, with the reason."""
    refused = {}
    for fraction in fractions:
        try:
            # any seed: the number of patches does not depend on it
            label_budget(store, fraction, seed=0, val_fraction=0)
        except UserError as error:
            refused[str(fraction)] = str(error)
    return refused
