import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, recall_score
from torchmetrics.functional.classification import multiclass_calibration_error

from eocontrast.evaluation.scores import Reliability, class_scores, scores, tally

CLASSES = ("Forest", "Shrubland", "Urban/Built-up", "Barren", "Water")
SKLEARN = {"recall": recall_score, "F1": f1_score, "IoU": jaccard_score}


Draw = Callable[..., tuple[NDArray[Any], NDArray[Any]]]


def exclusive(seed: int, absent: int | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """True and predicted classes of 300 patches, more often right than not."""
    rng = np.random.default_rng(seed)
    actual = rng.choice(5, 300, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    if absent is not None:
        actual[actual == absent] = (absent + 1) % 5
    wrong = rng.random(300) < 0.4
    return actual, np.where(wrong, rng.integers(5, size=300), actual)


def several(seed: int, absent: int | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Which classes 300 patches hold and which were said, (300, 5) each; often none."""
    rng = np.random.default_rng(seed)
    actual = rng.random((300, 5)) < [0.5, 0.3, 0.2, 0.1, 0.05]
    if absent is not None:
        actual[:, absent] = False
    return actual, actual ^ (rng.random((300, 5)) < 0.2)


def written(members: NDArray[Any]) -> list[str]:
    """Class indices, or classes as 0 and 1, as they stand in a table."""
    if members.ndim == 1:
        return [CLASSES[number] for number in members]
    return ["|".join(np.array(CLASSES)[row]) or "none" for row in members]


def table(actual: NDArray[Any], predicted: NDArray[Any], groups: int = 7) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "group": [f"g{number % groups}" for number in range(len(actual))],
            "actual": written(actual),
            "predicted": written(predicted),
            "count": 1,
        }
    )


def groups_of(rows: pd.DataFrame) -> NDArray[np.object_]:
    return np.unique(rows["group"].to_numpy(dtype=object))


def counted(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Counts over all groups, (C, 4)."""
    found: NDArray[np.float64] = tally(rows, CLASSES, groups_of(rows)).sum(0)
    return found


# --- against scikit-learn


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", [exclusive, several])
def test_scores_by_class_are_sklearns(draw: Draw, seed: int) -> None:
    actual, predicted = draw(seed)
    found = class_scores(counted(table(actual, predicted)))
    assert set(found) == set(SKLEARN)
    for name, score in SKLEARN.items():
        expected = score(actual, predicted, average=None, labels=range(5))
        np.testing.assert_allclose(found[name], expected, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draw", [exclusive, several])
def test_scores_over_all_classes_are_sklearns(draw: Draw, seed: int) -> None:
    actual, predicted = draw(seed)
    found = scores(counted(table(actual, predicted)), exclusive=draw is exclusive)
    right = np.asarray(actual == predicted)
    expected = {
        "AA": recall_score(actual, predicted, average="macro"),
        "OA": accuracy_score(right.ravel(), np.ones(right.size, dtype=bool)),
        "macro_F1": f1_score(actual, predicted, average="macro"),
        "micro_F1": f1_score(actual, predicted, average="micro"),
        "mIoU": jaccard_score(actual, predicted, average="macro"),
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)


def test_where_one_class_is_right_pooled_f1_is_the_accuracy() -> None:
    found = scores(counted(table(*exclusive(0))), exclusive=True)
    assert found["micro_F1"] == pytest.approx(found["OA"])


@pytest.mark.parametrize("absent", range(5))
@pytest.mark.parametrize("draw", [exclusive, several])
def test_a_class_that_does_not_occur_is_left_out_of_the_means(draw: Draw, absent: int) -> None:
    actual, predicted = draw(0, absent)
    present = [number for number in range(5) if number != absent]
    counts = counted(table(actual, predicted))
    assert counts[absent, 1] > 0  # it was said all the same
    for values in class_scores(counts).values():
        assert math.isnan(values[absent])
        assert np.isfinite(values[present]).all()
    found = scores(counts, exclusive=draw is exclusive)
    for name, score in (("AA", "recall"), ("macro_F1", "F1"), ("mIoU", "IoU")):
        expected = SKLEARN[score](actual, predicted, labels=present, average="macro")
        assert found[name] == pytest.approx(expected), name
    # what is said of it is still wrong
    assert found["micro_F1"] == pytest.approx(f1_score(actual, predicted, average="micro"))


def test_a_class_that_is_never_found_counts_as_zero() -> None:
    rows = table(np.array([0, 0, 0, 1, 1]), np.zeros(5, dtype=int))
    by_class, overall = class_scores(counted(rows)), scores(counted(rows), exclusive=True)
    assert [values[1] for values in by_class.values()] == [0, 0, 0]
    assert overall["AA"] == 0.5
    assert overall["macro_F1"] == pytest.approx((6 / 8 + 0) / 2)
    assert overall["mIoU"] == pytest.approx((3 / 5 + 0) / 2)


def test_right_rejections_count_where_several_classes_may_be_right() -> None:
    rows = table(np.zeros((4, 5), dtype=bool), np.zeros((4, 5), dtype=bool))
    assert scores(counted(rows), exclusive=False)["OA"] == 1
    assert math.isnan(scores(counted(rows), exclusive=False)["AA"])


def test_nothing_counted_has_no_mean() -> None:
    found = scores(np.zeros((5, 4)), exclusive=True)
    assert all(math.isnan(found[name]) for name in ("AA", "macro_F1", "mIoU"))


# --- counts by group


@pytest.mark.parametrize("draw", [exclusive, several])
def test_counts_add_up_over_groups(draw: Draw) -> None:
    rows = table(*draw(0))
    whole = tally(rows, CLASSES, groups_of(rows))
    assert whole.shape == (7, 5, 4)
    one = tally(rows.assign(group="all"), CLASSES, np.array(["all"], dtype=object))
    np.testing.assert_array_equal(whole.sum(0), one[0])
    # every row is one of four things to every class
    sizes = rows.groupby("group").size().to_numpy()
    np.testing.assert_array_equal(whole.sum(-1), np.tile(sizes[:, None], 5))
    for number, (group, part) in enumerate(rows.groupby("group")):
        alone = tally(part, CLASSES, np.array([group], dtype=object))
        np.testing.assert_array_equal(whole[number], alone[0])


def test_the_four_counts_are_hits_false_missed_and_rejected() -> None:
    rows = pd.DataFrame(
        [
            ("a", "Forest", "Forest", 3),
            ("a", "Forest", "Water", 5),
            ("b", "Water", "Forest", 7),
        ],
        columns=["group", "actual", "predicted", "count"],
    )
    found = tally(rows, ("Forest", "Water"), np.array(["a", "b"], dtype=object))
    assert found[0].tolist() == [[3, 0, 5, 0], [0, 5, 0, 3]]
    assert found[1].tolist() == [[0, 7, 0, 0], [0, 0, 7, 0]]


def test_a_count_is_as_many_rows_and_their_order_does_not_matter() -> None:
    rows = table(*exclusive(0))
    summed = rows.groupby(["group", "actual", "predicted"])["count"].sum().reset_index()
    assert len(summed) < len(rows)
    expected = tally(rows, CLASSES, groups_of(rows))
    for other in (summed, rows.sample(frac=1, random_state=0)):
        np.testing.assert_array_equal(tally(other, CLASSES, groups_of(rows)), expected)


def test_a_group_without_rows_counts_nothing() -> None:
    rows = table(*exclusive(0))
    found = tally(rows, CLASSES, np.array(["g", *groups_of(rows)], dtype=object))
    assert found[0].sum() == 0
    np.testing.assert_array_equal(found[1:], tally(rows, CLASSES, groups_of(rows)))


def test_names_inside_other_names_and_categories_are_told_apart() -> None:
    rows = pd.DataFrame(
        {"group": ["1", "1"], "actual": ["Wet", "Wetlands"], "predicted": "Wet", "count": 1}
    ).astype({"group": "category", "actual": "category", "predicted": "category"})
    found = tally(rows, ("Wet", "Wetlands"), np.array(["1"], dtype=object))
    assert found[0].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize("one_right", [True, False])
def test_leading_axes_are_scored_one_by_one(one_right: bool) -> None:
    draw = exclusive if one_right else several
    many = np.stack([counted(table(*draw(seed))) for seed in range(6)]).reshape(2, 3, 5, 4)
    for name, values in scores(many, one_right).items():
        assert values.shape == (2, 3)
        assert values[1, 2] == pytest.approx(scores(many[1, 2], one_right)[name])


# --- calibration


def answers(seed: int, size: int = 500) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities of five classes that are right more often than not, and the right ones."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(5, size=size)
    logits = rng.normal(size=(size, 5)) + 1.5 * np.eye(5)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probabilities.astype(np.float32), labels


def reliability(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15, parts: int = 1
) -> Reliability:
    found = Reliability(bins)
    hit = probabilities.argmax(1) == labels
    pieces = zip(*(np.array_split(x, parts) for x in (probabilities.max(1), hit)), strict=True)
    for confidence, right in pieces:
        found.add(confidence, right)
    return found


@pytest.mark.parametrize("bins", [5, 15])
@pytest.mark.parametrize("seed", range(3))
def test_the_calibration_error_is_torchmetrics(seed: int, bins: int) -> None:
    probabilities, labels = answers(seed)
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), num_classes=5, n_bins=bins
    )
    found = reliability(probabilities, labels, bins).error
    assert found == pytest.approx(float(expected), abs=1e-6)
    assert found > 0.01


def test_answers_may_come_in_parts_and_in_any_shape() -> None:
    probabilities, labels = answers(0)
    whole = reliability(probabilities, labels).error
    assert reliability(probabilities, labels, parts=7).error == pytest.approx(whole)
    folded = Reliability()
    hit = probabilities.argmax(1) == labels
    folded.add(probabilities.max(1).reshape(20, 25), hit.reshape(20, 25))
    assert folded.error == pytest.approx(whole)


def test_a_bin_holds_its_upper_edge() -> None:
    """Guo et al. 2017: ((m - 1) / M, m / M]; eighths are exact."""
    found = Reliability(bins=8)
    found.add(np.array([0.0, 0.125, 0.25, 1.0]), np.ones(4, dtype=bool))
    assert found.sums[:, 0].tolist() == [2, 1, 0, 0, 0, 0, 0, 1]


def test_certain_and_right_is_calibrated_certain_and_wrong_is_not() -> None:
    labels = np.arange(12) % 3
    sure = np.eye(3, dtype=np.float32)
    assert reliability(sure[labels], labels).error == 0
    assert reliability(sure[(labels + 1) % 3], labels).error == 1
    assert Reliability().error == 0
