import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arm_results import CLASSES, GROUPS, SEEDS, arm

from eocontrast.config.headline import HeadlineParams
from eocontrast.curve.bootstrap import Resampling
from eocontrast.curve.headline import answer, compared_arms
from eocontrast.curve.label_curve import (
    arm_curves,
    best_supervised,
    paired_difference,
    saving,
    summarise,
)
from eocontrast.curve.pages import table as pages_table
from eocontrast.curve.tables import COLUMNS, per_class, plot_rows, tidy
from eocontrast.evaluation.results import ArmResult
from eocontrast.evaluation.scores import class_scores
from eocontrast.runtime.errors import UserError

SCORES = ["AA", "OA", "macro_F1", "micro_F1", "mIoU", "ECE"]


@pytest.fixture(scope="module")
def given() -> dict[str, ArmResult]:
    """Five arms of two tasks."""
    made = [
        arm("late", {0.1: 0.4, 0.5: 0.6, 1.0: 0.7}, supervised=True, seed=1),
        arm("s2", {0.1: 0.6, 0.5: 0.5, 1.0: 0.5}, supervised=True, seed=2, inputs="s2"),
        arm("dual", {0.1: 0.6, 0.5: 0.9, 1.0: 0.95}, seed=3),
        arm("poor", {0.1: 0.2, 0.5: 0.3, 1.0: 0.3}, seed=4),
        arm("unet", {0.1: 0.5, 0.5: 0.6, 1.0: 0.7}, supervised=True, seed=5, task="segmentation"),
    ]
    return {result.name: result for result in made}


@pytest.fixture
def arms(given: dict[str, ArmResult]) -> dict[str, ArmResult]:
    """The same, for each test to change."""
    return dict(given)


def of(arms: dict[str, ArmResult], **columns: object) -> pd.DataFrame:
    """Points of `dual` with these values."""
    points = arms["dual"].points
    for column, value in columns.items():
        points = points[points[column] == value]
    return points


# --- tables


def test_the_table_holds_every_score_of_every_point(arms: dict[str, ArmResult]) -> None:
    table = tidy(arms)
    assert tuple(table.columns) == COLUMNS
    points = sum(len(result.points) for result in arms.values())
    assert points == 3 * 2 * (4 * 3 + 1)
    assert len(table) == points * len(SCORES)
    keys = ["task", "arm", "inputs", "fraction", "seed", "metric"]
    assert not table.duplicated(keys).any()
    assert set(table["metric"]) == set(SCORES)
    wanted = {"arm": "dual", "fraction": 0.5, "inputs": "s1", "metric": "AA", "init": "dual"}
    row = table[np.logical_and.reduce([table[k] == v for k, v in wanted.items()])]
    assert row["value"].tolist() == of(arms, fraction=0.5, inputs="s1")["AA"].tolist()
    assert set(row["n_labels"]) == {50}
    assert set(table[table["arm"] == "unet"]["task"]) == {"segmentation"}


def test_scores_by_class_are_means_over_seeds_with_all_sensors(
    arms: dict[str, ArmResult],
) -> None:
    table = per_class(arms)
    scored = ["recall", "F1", "IoU"]
    spread = [f"{name}_sd" for name in scored]
    assert list(table.columns) == ["task", "arm", "fraction", "class", *scored, *spread]
    assert len(table) == 5 * 3 * 3
    row = table[
        (table["arm"] == "dual") & (table["fraction"] == 0.5) & (table["class"] == "Water")
    ].iloc[0]
    counts = np.stack([arms["dual"].tallies[0.5, seed].sum(0) for seed in SEEDS])
    for name, values in class_scores(counts).items():
        assert row[name] == pytest.approx(values[:, 2].mean(), abs=5e-5)
        assert row[f"{name}_sd"] == pytest.approx(values[:, 2].std(ddof=1), abs=5e-5)
    order = table[(table["arm"] == "dual") & (table["fraction"] == 0.1)]["class"]
    assert order.tolist() == list(CLASSES)


def test_a_class_that_is_not_tested_has_no_scores(arms: dict[str, ArmResult]) -> None:
    """As they come from JSON: null, which pandas keeps as an object."""
    by_class = arms["dual"].by_class.astype({"recall": object, "F1": object, "IoU": object})
    by_class.loc[by_class["class"] == "Urban", ["recall", "F1", "IoU"]] = None
    table = per_class({"dual": replace(arms["dual"], by_class=by_class)})
    urban = table["class"] == "Urban"
    assert urban.sum() == 3
    assert table[urban][["recall", "F1", "IoU"]].isna().all(axis=None)
    assert table[~urban][["recall", "F1", "IoU"]].notna().all(axis=None)


def test_plots_hold_one_row_a_point_with_all_sensors(arms: dict[str, ArmResult]) -> None:
    rows = plot_rows(arms)
    assert len(rows) == 5 * 3 * 2
    assert set(rows[0]) == {"task", "arm", "fraction", "n_labels", "seed", "score"}
    titles = {row["arm"]: row["task"] for row in rows}
    assert titles["dual"] == "single_label (AA)"
    assert titles["unet"] == "segmentation (mIoU)"
    dual = [row["score"] for row in rows if row["arm"] == "dual" and row["fraction"] == 0.5]
    assert dual == of(arms, fraction=0.5, inputs="s1+s2")["AA"].tolist()
    json.dumps(rows, allow_nan=False)


# --- curves


def test_a_curve_is_the_mean_of_the_tasks_score_at_every_fraction(
    arms: dict[str, ArmResult],
) -> None:
    curves = arm_curves(arms, 200)
    assert list(curves) == list(arms)
    for name, curve in curves.items():
        whole = arms[name].points[arms[name].points["inputs"] == arms[name].inputs]
        by_fraction = whole.groupby("fraction")[arms[name].metric].mean()
        np.testing.assert_allclose(curve.values, by_fraction)
        assert curve.fractions == (0.1, 0.5, 1.0)
        assert curve.n_labels.tolist() == [10, 50, 100]
        assert curve.samples.shape == (3, 200)
        assert all(i.low <= i.value <= i.high for i in curve.intervals)


def test_all_arms_are_resampled_alike(arms: dict[str, ArmResult]) -> None:
    """A twin under another name has the same samples; a plain resampling gives them."""
    curves = arm_curves({**arms, "twin": replace(arms["dual"], name="twin")}, 100)
    np.testing.assert_array_equal(curves["twin"].samples, curves["dual"].samples)
    counts = np.stack([arms["dual"].tallies[0.5, seed] for seed in SEEDS])
    _, expected = Resampling(30, 2, 100).score(counts, "AA", exclusive=True)
    np.testing.assert_array_equal(curves["dual"].samples[1], expected)


def test_arms_whose_groups_differ_are_resampled_as_one_set(arms: dict[str, ArmResult]) -> None:
    """Where one task asks nothing of a group, the other's curve stays what it is."""
    some = arm("unet", {0.1: 0.5, 1.0: 0.7}, True, 5, "segmentation", groups=GROUPS[1::2])
    alone = arm_curves({"dual": arms["dual"]}, 200)
    together = arm_curves({"unet": some, "dual": arms["dual"]}, 200)
    np.testing.assert_array_equal(together["dual"].samples, alone["dual"].samples)
    # groups are found by name, not by place
    counts = np.zeros((2, 30, 3, 4))
    counts[:, 1::2] = np.stack([some.tallies[1.0, seed] for seed in SEEDS])
    value, expected = Resampling(30, 2, 200).score(counts, "mIoU", exclusive=True)
    np.testing.assert_array_equal(together["unet"].samples[1], expected)
    assert together["unet"].values[1] == value
    assert summarise(together)["segmentation"]["test_groups"] == 15
    assert summarise(together)["single_label"]["test_groups"] == 30


def test_the_order_of_points_does_not_matter(arms: dict[str, ArmResult]) -> None:
    shuffled = replace(
        arms["dual"],
        points=arms["dual"].points.sample(frac=1, random_state=0),
        tallies=dict(sorted(arms["dual"].tallies.items(), reverse=True)),
    )
    one = arm_curves(arms, 200)["dual"]
    two = arm_curves({**arms, "dual": shuffled}, 200)["dual"]
    np.testing.assert_array_equal(one.samples, two.samples)
    assert one.fractions == two.fractions


def test_no_arm_has_no_curve() -> None:
    with pytest.raises(UserError, match="no arm has a point"):
        arm_curves({}, 200)


def test_the_best_supervised_arm_is_the_one_that_ends_highest(arms: dict[str, ArmResult]) -> None:
    del arms["unet"]
    curves = arm_curves(arms, 200)
    best = best_supervised(curves)
    assert best is not None
    assert best.result.name == "late"  # s2 starts higher, dual ends higher
    del curves["late"], curves["s2"]
    assert best_supervised(curves) is None


def test_headline_arms_named_beforehand(arms: dict[str, ArmResult]) -> None:
    """The named arms are compared, whichever arms have the best scores."""
    pair = HeadlineParams(supervised="s2", pretrained="poor")
    summary = summarise(arm_curves(arms, 100), {"classification": pair})
    task = summary["single_label"]
    assert compared_arms(task) == ("s2", "poor")
    sentences = answer(task)
    assert "`poor` reaches" in sentences[0]
    assert sentences[-2] == "The arms were chosen before this run."
    assert (
        sentences[-1]
        == f"With all labels, `late` reaches {task['supervised']['late'][-1]['value']:.2f}."
    )
    late, gap = task["supervised"]["s2"][0], task["difference_at_same_labels"]["poor"][0]
    assert late["fraction"] == gap["fraction"] == task["pretrained"]["poor"][0]["fraction"]
    assert (
        f"With the same {100 * late['fraction']:g} % of the labels, `s2` reaches "
        f"{late['value']:.2f}; the difference is {gap['value']:+.3f} "
        f"({gap['low']:+.3f} to {gap['high']:+.3f})."
    ) in sentences
    gap = task["difference_to_best_supervised"]["dual"][0]["value"]
    points = task["pretrained"]["dual"][0]["value"] - task["supervised"]["s2"][-1]["value"]
    assert gap == pytest.approx(points, abs=2e-4)
    assert summary["segmentation"]["chosen"] == {"supervised": "auto", "pretrained": "auto"}


@pytest.mark.parametrize("name", ["none", "left_out"])
def test_headline_arm_without_points(arms: dict[str, ArmResult], name: str) -> None:
    pair = HeadlineParams(supervised="late", pretrained=name)
    task = summarise(arm_curves(arms, 100), {"classification": pair})["single_label"]
    assert compared_arms(task) == ("late", None)
    assert answer(task) == []


def test_no_interval_reaches_headline(arms: dict[str, ArmResult]) -> None:
    why = ("the test split has 1 group; give several",)
    lone = {name: replace(result, no_interval=why) for name, result in arms.items()}
    curves = arm_curves(lone, 100)
    assert all(math.isnan(band.low) for band in curves["dual"].intervals)
    task = json.loads(json.dumps(summarise(curves), allow_nan=False))["single_label"]
    assert task["no_interval"] == list(why)
    for point in (*task["pretrained"]["dual"], *task["difference_to_best_supervised"]["dual"]):
        assert (point["low"], point["high"]) == (None, None)
        assert point["value"] is not None
    first, second = answer(task)
    assert first == (
        "It cannot be said whether fewer labels are enough: the test split has 1 group; give "
        "several."
    )
    assert second.startswith("With 10 % of the labels")
    assert "(no interval)" in pages_table(task)


def test_pretrainings_are_drawn_before_their_seeds(arms: dict[str, ArmResult]) -> None:
    """An arm of two pretrainings has the draws of `Resampling` with its own origins."""
    two = replace(arms["dual"], origins={0: 0, 1: 7})
    curves = arm_curves({"two": two, "late": arms["late"]}, 100)
    draws = Resampling(30, 2, 100, pretrainings=2)
    for name, result in (("two", two), ("late", arms["late"])):
        counts = np.stack([result.tallies[0.5, seed] for seed in SEEDS])
        _, expected = draws.score(counts, "AA", True, [0, 1])
        np.testing.assert_array_equal(curves[name].samples[1], expected)


# --- differences and savings


def test_an_arm_minus_itself_is_nothing(arms: dict[str, ArmResult]) -> None:
    curve = arm_curves(arms, 300)["late"]
    nothing = {"value": 0, "low": 0, "high": 0}
    assert paired_difference(curve, curve, same_labels=False)[-1] == {"fraction": 1.0, **nothing}
    same = paired_difference(curve, curve, same_labels=True)
    assert same == [{"fraction": fraction, **nothing} for fraction in (0.1, 0.5, 1.0)]


def test_pairing_narrows_the_difference_of_arms_that_err_alike(arms: dict[str, ArmResult]) -> None:
    tallies = {key: counts.copy() for key, counts in arms["late"].tallies.items()}
    for counts in tallies.values():
        counts[-1] = [[1, 2, 0, 0], [0, 0, 1, 2], [0, 0, 1, 2]]  # Forest, whatever it is
    twin = replace(arms["late"], name="twin", tallies=tallies)
    curves = arm_curves({"late": arms["late"], "twin": twin}, 300)
    last = paired_difference(curves["twin"], curves["late"], same_labels=True)[-1]
    alone = curves["late"].intervals[-1]
    assert last["high"] - last["low"] < 0.5 * (alone.high - alone.low)


@pytest.mark.parametrize("same_labels", [True, False])
def test_differences_are_paired(arms: dict[str, ArmResult], same_labels: bool) -> None:
    curves = arm_curves(arms, 300)
    dual, late = curves["dual"], curves["late"]
    rows = paired_difference(dual, late, same_labels)
    assert [row["fraction"] for row in rows] == [0.1, 0.5, 1.0]
    for number, row in enumerate(rows):
        other = number if same_labels else 2
        gaps = dual.samples[number] - late.samples[other]
        low, high = np.quantile(gaps, [0.025, 0.975])
        expected = (dual.values[number] - late.values[other], low, high)
        assert (row["value"], row["low"], row["high"]) == pytest.approx(expected, abs=5e-5)
    assert rows[-1]["low"] > 0


def test_the_label_saving_factor_has_an_interval(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, 300)
    found = saving(curves["dual"], curves["late"])
    target = curves["late"].values[-1]
    low, high = curves["dual"].values[:2]
    assert low < target < high
    needed = math.exp(math.log(10) + (target - low) / (high - low) * (math.log(50) - math.log(10)))
    assert found["value"] == pytest.approx(100 / needed, abs=1e-3)
    assert 2 <= found["low"] <= found["value"] <= found["high"] <= 10
    assert found["at_least"] is False


def test_an_arm_that_never_gets_there_saves_nothing(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, 200)
    found = saving(curves["poor"], curves["late"])
    assert found == {"value": 0, "low": 0, "high": 0, "at_least": False}


def test_an_arm_that_is_there_at_once_saves_at_least_that_much(arms: dict[str, ArmResult]) -> None:
    arms["dual"] = arm("dual", {0.1: 0.9, 0.5: 0.95, 1.0: 0.95})
    curves = arm_curves(arms, 200)
    found = saving(curves["dual"], curves["late"])
    assert found["at_least"] is True
    assert found["value"] == 10


def test_the_baseline_saves_nothing_on_itself(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, 200)
    assert saving(curves["late"], curves["late"])["value"] == pytest.approx(1)


# --- the summary


def test_the_summary_is_json_and_names_the_headline_of_each_task(
    arms: dict[str, ArmResult],
) -> None:
    curves = arm_curves(arms, 200)
    text = json.dumps(summarise(curves), allow_nan=False)
    assert text == json.dumps(summarise(arm_curves(arms, 200)), allow_nan=False)
    summary = json.loads(text)
    assert list(summary) == ["single_label", "segmentation"]
    for task, metric in (("single_label", "AA"), ("segmentation", "mIoU")):
        assert list(summary[task]) == [
            "metric",
            "test_groups",
            "left_out",
            "no_interval",
            "chosen",
            "best_supervised",
            "supervised",
            "pretrained",
            "one_sensor_missing",
            "difference_to_best_supervised",
            "difference_at_same_labels",
            "label_saving_factor",
        ]
        assert summary[task]["metric"] == metric
        assert summary[task]["test_groups"] == 30
        assert summary[task]["left_out"] == {"0.01": "too few"}
    found = summary["single_label"]
    best = found["best_supervised"]
    assert (best["arm"], best["n_labels"], best["fraction"]) == ("late", 100, 1.0)
    interval = curves["late"].intervals[-1]
    expected = (interval.value, interval.low, interval.high)
    assert (best["value"], best["low"], best["high"]) == pytest.approx(expected, abs=5e-5)
    assert set(found["supervised"]) == {"late", "s2"}
    pretrained = ("pretrained", "label_saving_factor", "difference_at_same_labels")
    for key in (*pretrained, "difference_to_best_supervised"):
        assert set(found[key]) == {"dual", "poor"}, key
    assert [row["n_labels"] for row in found["pretrained"]["dual"]] == [10, 50, 100]
    assert summary["segmentation"]["best_supervised"]["arm"] == "unet"
    assert summary["segmentation"]["label_saving_factor"] == {}


def test_differences_of_the_summary_are_to_the_best_of_the_task(
    arms: dict[str, ArmResult],
) -> None:
    curves = arm_curves(arms, 200)
    found = summarise(curves)["single_label"]
    dual, late = curves["dual"], curves["late"]
    for key, same in (
        ("difference_to_best_supervised", False),
        ("difference_at_same_labels", True),
    ):
        assert found[key]["dual"] == paired_difference(dual, late, same)
    assert found["label_saving_factor"]["dual"] == saving(dual, late)


def test_with_one_sensor_missing_scores_are_means_over_seeds(arms: dict[str, ArmResult]) -> None:
    missing = summarise(arm_curves(arms, 200))["single_label"]["one_sensor_missing"]
    assert set(missing) == {"late", "dual", "poor"}  # s2 takes one sensor
    assert set(missing["dual"]) == {"s1", "s2"}
    for inputs, rows in missing["dual"].items():
        assert [row["fraction"] for row in rows] == [0.1, 0.5, 1.0]
        for row in rows:
            points = of(arms, fraction=row["fraction"], inputs=inputs)
            assert row["value"] == pytest.approx(points["AA"].mean(), abs=5e-5)


def test_without_a_supervised_arm_there_is_no_headline(arms: dict[str, ArmResult]) -> None:
    pretrained: dict[str, Any] = {name: arms[name] for name in ("dual", "poor")}
    summary = summarise(arm_curves(pretrained, 200))["single_label"]
    assert summary["best_supervised"] is None
    assert "label_saving_factor" not in summary
    assert set(summary["pretrained"]) == {"dual", "poor"}
