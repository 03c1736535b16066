"""Reasons for scores without an interval, on stores that hold labels alone."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.models.decidable import no_interval
from eocontrast.models.tasks import TASKS
from eocontrast.patches.store import PatchStore

CLASSES = ("Forest", "Urban", "Water")


def store(
    train: str, test: str, groups: int = 3, shares: NDArray[np.float32] | None = None
) -> PatchStore:
    """Make a store from the first letters of its classes, one per patch."""
    letters = [name[0] for name in CLASSES]
    split = np.array(["train"] * len(train) + ["test"] * len(test))
    found = SimpleNamespace(
        classes=CLASSES,
        labels=np.array([letters.index(letter) for letter in train + test]),
        shares=shares,
        groups=np.array([f"g{n % groups}" for n in range(len(split))], dtype=object),
        labelled=lambda name: np.flatnonzero(split == name),
    )
    return cast(PatchStore, found)


@pytest.mark.parametrize(
    ("train", "test", "groups", "words"),
    [
        ("FFUUWW", "FUW", 1, "the test split has 1 group"),
        ("FFF", "FFF", 3, "all labels are Forest"),
        ("FUW", "FUW", 3, "each class has one label"),
        ("FFUU", "FUW", 3, "the split train has no Water"),
        ("FFUUWW", "FU", 2, "the split test has no Water"),
    ],
)
def test_reason_for_no_interval(train: str, test: str, groups: int, words: str) -> None:
    (reason,) = no_interval(store(train, test, groups), TASKS["single_label"])
    assert reason.startswith(words)
    assert ";" in reason  # what to do


def test_enough_labels_have_interval() -> None:
    assert no_interval(store("FFUUWW", "FUW"), TASKS["single_label"]) == []
    # a class that nobody has is no reason
    assert no_interval(store("FFUU", "FU", 2), TASKS["single_label"]) == []


def test_masks_decide_segmentation() -> None:
    """Water is no patch's first class, but has pixels on both sides."""
    shares = np.array([[0.6, 0.0, 0.4], [0.2, 0.8, 0.0]] * 4, dtype=np.float32)
    labels = store("FUFUFU", "FU", 2, shares)
    assert no_interval(labels, TASKS["segmentation"]) == []
    shares[6:, 2] = 0
    (reason,) = no_interval(labels, TASKS["segmentation"])
    assert reason.startswith("the split test has no Water")
