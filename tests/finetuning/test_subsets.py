from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from eocontrast.finetuning.subsets import hold_out, label_order, labelled_subset
from eocontrast.normalisation.splits import refuse_shared_groups, split_by_group
from eocontrast.runtime.errors import UserError

SEEDS = range(5)
FRACTIONS = (0.02, 0.1, 0.333, 0.5, 0.9, 1.0)


def unequal_labels(seed: int = 0) -> NDArray[np.int64]:
    """500 patches of 5 classes, the rarest with 9."""
    sizes = (250, 150, 61, 30, 9)
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(5), sizes))


def index_of(sizes: list[int], labelled: list[bool] | None = None) -> pd.DataFrame:
    """Groups of these sizes, none with a split."""
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    has = labelled or [True] * len(groups)
    return pd.DataFrame({"group": groups, "split": "", "labelled": has})


# --- splits


@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_is_in_two_splits(seed: int) -> None:
    index = index_of([5, 1, 20, 7, 7, 3, 12, 2] * 3)
    split = split_by_group(index, 0.3, seed)
    assert set(split) == {"train", "test"}
    assert not set(index.group[split == "train"]) & set(index.group[split == "test"])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_test_split_holds_the_wanted_share_up_to_half_a_group(seed: int, share: float) -> None:
    index = index_of([10] * 40)
    tested = (split_by_group(index, share, seed) == "test").sum()
    assert abs(tested - share * len(index)) <= 5


def test_nothing_is_tested_on_where_no_share_is_wanted() -> None:
    assert set(split_by_group(index_of([4] * 5), 0, 0)) == {"train"}


def test_another_seed_draws_other_groups_and_the_same_seed_the_same() -> None:
    index = index_of([3] * 30)
    first, again, other = (split_by_group(index, 0.3, seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def test_the_order_of_rows_does_not_matter() -> None:
    index = index_of([3, 8, 5, 4, 6, 2, 9, 7])
    shuffled = index.sample(frac=1, random_state=0)
    pd.testing.assert_series_equal(
        split_by_group(index, 0.4, 0), split_by_group(shuffled, 0.4, 0).sort_index()
    )


def test_a_given_split_is_kept() -> None:
    index = index_of([4] * 10)
    index.loc[index.group == "g3", "split"] = "test"
    index.loc[index.group == "g5", "split"] = "train"
    for seed in SEEDS:
        split = split_by_group(index, 0.0, seed)
        assert set(split[index.group == "g3"]) == {"test"}
        assert (split == "test").sum() == 4


def test_rows_without_label_are_for_pretraining() -> None:
    index = index_of([4] * 10, [False] * 20 + [True] * 20)
    split = split_by_group(index, 0.5, 0)
    assert set(split[:20]) == {"pretrain"}
    assert abs((split[20:] == "test").sum() - 10) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_that_are_labelled_in_part_can_be_split(seed: int) -> None:
    """The user gave no split, so it cannot be the user's mistake that a group would be in two."""
    index = index_of([4] * 10, [True, True, False, True] * 10)
    split = split_by_group(index, 0.3, seed)
    assert not set(index.group[split == "test"]) & set(index.group[split != "test"])


@pytest.mark.parametrize("other", ["train", "pretrain"])
def test_a_group_that_is_tested_on_and_seen_before_is_refused(other: str) -> None:
    group = pd.Series(["a", "a", "b", "b"])
    refuse_shared_groups(group, pd.Series([other, other, "test", "test"]))
    with pytest.raises(UserError, match="group b is in the splits") as caught:
        refuse_shared_groups(group, pd.Series([other, other, other, "test"]))
    assert f"'{other}'" in str(caught.value)


def test_a_group_may_be_pretrained_on_and_trained_on() -> None:
    refuse_shared_groups(pd.Series(["a", "a"]), pd.Series(["pretrain", "train"]))


# --- label budgets


@pytest.mark.parametrize("seed", SEEDS)
def test_budgets_of_one_seed_are_nested(seed: int) -> None:
    labels = unequal_labels()
    subsets = [set(labelled_subset(labels, fraction, seed)) for fraction in FRACTIONS]
    for smaller, larger in pairwise(subsets):
        assert smaller < larger
    assert subsets[-1] == set(range(500))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fraction", FRACTIONS)
def test_budgets_are_distinct_stratified_and_hold_every_class(seed: int, fraction: float) -> None:
    labels = unequal_labels()
    rows = labelled_subset(labels, fraction, seed)
    assert len(set(rows.tolist())) == len(rows) == round(fraction * 500)
    counts = np.bincount(labels[rows], minlength=5)
    assert counts.min() >= 1
    wanted = fraction * np.bincount(labels)
    if fraction >= 0.1:  # below, one of every class is more than its share
        assert np.abs(counts - wanted).max() <= 1 + 1e-9


def test_another_seed_draws_another_budget() -> None:
    labels = unequal_labels()
    assert set(labelled_subset(labels, 0.1, 0)) != set(labelled_subset(labels, 0.1, 1))
    np.testing.assert_array_equal(labelled_subset(labels, 0.1, 0), labelled_subset(labels, 0.1, 0))


def test_the_order_visits_every_patch_once_and_every_class_first() -> None:
    labels = unequal_labels()
    order = label_order(labels, 3)
    assert sorted(order) == list(range(500))
    assert set(labels[order[:5]]) == set(range(5))


@pytest.mark.parametrize(
    ("size", "num_classes", "fraction"), [(500, 5, 0.001), (2400, 3, 0.0005), (42, 3, 0.05)]
)
def test_a_budget_that_is_too_small_names_one_that_is_not(
    size: int, num_classes: int, fraction: float
) -> None:
    labels = np.arange(size) % num_classes
    with pytest.raises(UserError, match=f"{num_classes} classes") as caught:
        labelled_subset(labels, fraction, 0)
    named = float(str(caught.value).split("fraction of ")[-1].split()[0])
    assert len(labelled_subset(labels, named, 0)) >= num_classes
    with pytest.raises(UserError):
        labelled_subset(labels, 0.5 * named, 0)


def test_no_labels_at_all_are_refused() -> None:
    with pytest.raises(UserError):
        labelled_subset(np.empty(0, dtype=np.int64), 1.0, 0)


# --- validation inside the budget


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("val_fraction", [0.1, 0.2, 0.5])
def test_validation_is_whole_groups_and_every_class_keeps_a_patch(
    seed: int, val_fraction: float
) -> None:
    rng = np.random.default_rng(seed)
    labels = unequal_labels(seed)
    groups = np.array([f"g{number}" for number in rng.integers(40, size=500)], dtype=object)
    train, validation = hold_out(labels, groups, val_fraction, seed)
    assert sorted([*train, *validation]) == list(range(500))
    assert not set(groups[train]) & set(groups[validation])
    assert set(labels[train]) == set(range(5))
    # groups hold 12.5 patches, so it comes within one of them
    assert val_fraction * 500 - 25 <= len(validation) <= val_fraction * 500


def test_a_class_of_one_group_stays_in_training() -> None:
    labels = np.array([0, 0, 0, 0, 1, 0])
    groups = np.array(["a", "b", "c", "d", "e", "f"], dtype=object)
    for seed in SEEDS:
        train, validation = hold_out(labels, groups, 0.5, seed)
        assert 4 in train
        assert len(validation) == 3


def test_a_budget_of_one_patch_a_class_has_no_validation() -> None:
    groups = np.array(["a", "b", "c"], dtype=object)
    train, validation = hold_out(np.arange(3), groups, 0.5, 0)
    assert (train.tolist(), validation.tolist()) == ([0, 1, 2], [])


def test_no_validation_is_wanted() -> None:
    groups = np.array(["a", "b"] * 5, dtype=object)
    assert len(hold_out(np.arange(10) % 2, groups, 0, 0)[1]) == 0
