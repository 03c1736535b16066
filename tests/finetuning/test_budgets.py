from itertools import pairwise

import numpy as np
import pytest
from specs import make_arm

from eocontrast.finetuning.budgets import (
    Budget,
    label_budget,
    labelled_pixels,
    labelled_shapes,
    too_small,
    unusable,
)
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError

FRACTIONS = (0.1, 0.2, 0.5, 1.0)
SEEDS = range(3)


def rows_of(budget: Budget) -> list[int]:
    return [*budget.train.tolist(), *budget.validation.tolist()]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 1.0])
def test_a_budget_is_of_the_labelled_training_patches(
    tiny_store: PatchStore, fraction: float
) -> None:
    budget = label_budget(tiny_store, fraction, seed=0, val_fraction=0.2)
    rows = rows_of(budget)
    assert len(set(rows)) == len(rows) == budget.n_labels == round(fraction * 42)
    assert set(rows) <= set(tiny_store.labelled("train"))
    assert set(tiny_store.labels[budget.train]) == {0, 1, 2}
    train, validation = (tiny_store.groups[r] for r in (budget.train, budget.validation))
    assert not set(train) & set(validation)
    assert len(validation) <= 0.2 * len(rows)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
def test_budgets_of_one_seed_are_nested(
    tiny_store: PatchStore, seed: int, val_fraction: float
) -> None:
    budgets = [set(rows_of(label_budget(tiny_store, f, seed, val_fraction))) for f in FRACTIONS]
    assert all(smaller < larger for smaller, larger in pairwise(budgets))
    assert budgets[-1] == set(tiny_store.labelled("train"))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_budgets_hold_the_classes_in_their_shares(
    tiny_store: PatchStore, seed: int, fraction: float
) -> None:
    counts = np.bincount(tiny_store.labels[rows_of(label_budget(tiny_store, fraction, seed, 0.2))])
    assert np.abs(counts - fraction * 14).max() <= 1  # 14 patches of each


def test_another_seed_draws_other_patches(tiny_store: PatchStore) -> None:
    first, again, other = (rows_of(label_budget(tiny_store, 0.2, s, 0.2)) for s in (0, 0, 1))
    assert first == again
    assert set(first) != set(other)


def test_every_task_draws_the_same_patches(mixed_store: PatchStore) -> None:
    """The patches differ in their masks and not in their most frequent class."""
    masked = label_budget(mixed_store, 0.5, 0, 0.2)
    assert mixed_store.shares is not None
    mixed_store.shares[:] = 0
    unmasked = label_budget(mixed_store, 0.5, 0, 0.2)
    assert rows_of(masked) == rows_of(unmasked)


def test_validation_labels_are_paid_for(tiny_store: PatchStore) -> None:
    budget = label_budget(tiny_store, 1.0, seed=0, val_fraction=0.2)
    assert len(budget.validation) > 0
    assert budget.n_labels == len(budget.train) + len(budget.validation) == 42


@pytest.mark.parametrize("fraction", [0.2, 1.0])
def test_pixels_that_have_a_class_are_counted_those_of_validation_too(
    mixed_store: PatchStore, fraction: float
) -> None:
    budget = label_budget(mixed_store, fraction, seed=0, val_fraction=0.2)
    assert len(budget.validation) > 0 or fraction < 1
    # one pixel of every mask has no class
    assert labelled_pixels(mixed_store, budget) == (16 * 16 - 1) * budget.n_labels
    masks = mixed_store.masks(np.array(rows_of(budget)))
    assert labelled_pixels(mixed_store, budget) == int((masks != 255).sum())


def test_a_name_a_patch_labels_no_pixel(tiny_store: PatchStore) -> None:
    assert labelled_pixels(tiny_store, label_budget(tiny_store, 1.0, 0, 0.2)) == 0


def test_a_store_without_labels_to_train_on_is_refused(tiny_store: PatchStore) -> None:
    tiny_store.index.loc[tiny_store.index["split"] == "train", "label"] = -1
    with pytest.raises(UserError):
        label_budget(tiny_store, 1.0, seed=0, val_fraction=0.2)


def test_fractions_below_one_patch_a_class_are_left_out_with_the_reason(
    tiny_store: PatchStore,
) -> None:
    refused = too_small(tiny_store, [0.01, 0.05, 0.1, 1.0])
    assert set(refused) == {"0.01", "0.05"}
    assert "3 classes" in refused["0.05"]


def test_segmenters_are_left_out_where_there_are_no_masks(
    tiny_store: PatchStore, mixed_store: PatchStore
) -> None:
    segmenter = make_arm(task="segmentation", head="unet", fusion="s1")
    classifier = segmenter.model_copy(update={"task": "classification"})
    refused = unusable(tiny_store, segmenter, [0.05, 1.0])
    assert list(refused) == ["0.05", "1.0"]
    assert "needs masks" in refused["1.0"]
    for store, arm in ((tiny_store, classifier), (mixed_store, segmenter)):
        assert unusable(store, arm, [0.05, 1.0]) == too_small(store, [0.05, 1.0])


def test_shapes_of_a_budget_count_once(tiny_store: PatchStore) -> None:
    budget = label_budget(tiny_store, 0.5, seed=0, val_fraction=0.2)
    assert labelled_shapes(tiny_store, budget) == 0  # labels are no polygons
    draws = np.random.default_rng(0)
    texts = [
        " ".join(map(str, draws.integers(0, 30, draws.integers(0, 4)))) for _ in tiny_store.labels
    ]
    store = PatchStore(tiny_store.folder)
    store.index["shapes"] = texts
    expected: set[str] = set()
    for row in rows_of(budget):
        expected |= set(texts[row].split())
    assert labelled_shapes(store, budget) == len(expected) > 3
