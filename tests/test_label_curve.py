import json
import math

import numpy as np
import pandas as pd
import pytest

from eocontrast.errors import UserError
from eocontrast.label_curve import (
    COLUMNS,
    ArmResult,
    arm_curves,
    best_supervised,
    paired_difference,
    per_class,
    plot_rows,
    saving,
    summarise,
    tidy,
)

SEEDS = (0, 1)
CLASSES = ("Forest", "Urban", "Water")
N_LABELS = {0.1: 10, 0.5: 50, 1.0: 100}


def arm(
    name: str, accuracy: dict[float, float], supervised: bool = False, seed: int = 0
) -> ArmResult:
    """Predictions on 90 patches of 30 groups that are right with probability `accuracy`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    groups = [f"g{patch // 3:02d}" for patch in range(90)]
    points, tables = [], []
    for fraction, wanted in accuracy.items():
        for run in SEEDS:
            hit = rng.random(90) < wanted
            predicted = np.where(hit, labels, (labels + 1) % 3)
            table = {"fraction": fraction, "seed": run, "group": groups}
            tables.append(pd.DataFrame({**table, "label": labels, "prediction": predicted}))
            recall = [hit[labels == k].mean() for k in range(3)]
            score = {"AA": float(np.mean(recall)), "OA": float(hit.mean())}
            points.append(
                {"fraction": fraction, "seed": run, "n_labels": N_LABELS[fraction], **score}
            )
    return ArmResult(
        name=name,
        task="single_label",
        init="random" if supervised else "dual",
        inputs="s1+s2",
        supervised=supervised,
        classes=CLASSES,
        points=pd.DataFrame(points, columns=["fraction", "seed", "n_labels", "AA", "OA"]),
        predictions=pd.concat(tables) if tables else pd.DataFrame(),
        left_out={},
    )


@pytest.fixture
def arms() -> dict[str, ArmResult]:
    given = [
        arm("late", {0.1: 0.4, 0.5: 0.6, 1.0: 0.7}, supervised=True, seed=1),
        arm("s2", {0.1: 0.6, 0.5: 0.5, 1.0: 0.5}, supervised=True, seed=2),
        arm("dual", {0.1: 0.6, 0.5: 0.9, 1.0: 0.95}, seed=3),
        arm("poor", {0.1: 0.2, 0.5: 0.3, 1.0: 0.3}, seed=4),
    ]
    return {result.name: result for result in given}


def test_the_table_holds_every_score_of_every_point(arms: dict[str, ArmResult]) -> None:
    table = tidy(arms)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 4 * 3 * 2 * 2
    assert not table.duplicated(["task", "arm", "fraction", "seed", "metric"]).any()
    points = arms["dual"].points
    row = table[(table["arm"] == "dual") & (table["fraction"] == 0.5) & (table["metric"] == "AA")]
    assert row["value"].tolist() == points[points["fraction"] == 0.5]["AA"].tolist()
    assert set(row["n_labels"]) == {50}


def test_a_curve_is_the_mean_score_at_every_fraction(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 200)
    for name, curve in curves.items():
        by_fraction = arms[name].points.groupby("fraction")["AA"].mean()
        np.testing.assert_allclose(curve.values, by_fraction)
        assert curve.fractions == (0.1, 0.5, 1.0)
        assert curve.n_labels.tolist() == [10, 50, 100]
        assert curve.samples.shape == (3, 200)
        assert all(i.low <= i.value <= i.high for i in curve.intervals)


def test_the_order_of_points_does_not_matter(arms: dict[str, ArmResult]) -> None:
    shuffled = ArmResult(
        **{
            **vars(arms["dual"]),
            "points": arms["dual"].points.sample(frac=1, random_state=0),
            "predictions": arms["dual"].predictions.sample(frac=1, random_state=0),
        }
    )
    one = arm_curves(arms, SEEDS, 200)["dual"]
    two = arm_curves({**arms, "dual": shuffled}, SEEDS, 200)["dual"]
    np.testing.assert_allclose(one.samples, two.samples)
    assert one.fractions == two.fractions


def test_the_best_supervised_arm_is_the_baseline(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 200)
    best = best_supervised(curves)
    assert best is not None
    assert best.result.name == "late"
    del curves["late"], curves["s2"]
    assert best_supervised(curves) is None


def test_an_arm_minus_itself_is_nothing(arms: dict[str, ArmResult]) -> None:
    curve = arm_curves(arms, SEEDS, 300)["late"]
    last = paired_difference(curve, curve)[-1]
    assert last == {"fraction": 1.0, "value": 0, "low": 0, "high": 0}


def test_pairing_narrows_the_difference_of_arms_that_err_alike(arms: dict[str, ArmResult]) -> None:
    predicted = arms["late"].predictions["prediction"].to_numpy().copy()
    predicted[-3:] = 0
    twin = ArmResult(
        **{
            **vars(arms["late"]),
            "name": "twin",
            "predictions": arms["late"].predictions.assign(prediction=predicted),
        }
    )
    curves = arm_curves({"late": arms["late"], "twin": twin}, SEEDS, 300)
    last = paired_difference(curves["twin"], curves["late"])[-1]
    alone = curves["late"].intervals[-1]
    assert last["high"] - last["low"] < 0.5 * (alone.high - alone.low)


def test_differences_are_to_the_baseline_at_all_labels(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 300)
    rows = paired_difference(curves["dual"], curves["late"])
    expected = curves["dual"].values - curves["late"].values[-1]
    assert [row["value"] for row in rows] == pytest.approx(expected, abs=5e-5)
    assert rows[-1]["low"] > 0


def test_the_label_saving_factor_has_an_interval(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 300)
    found = saving(curves["dual"], curves["late"])
    target = curves["late"].values[-1]
    low, high = curves["dual"].values[:2]
    assert low < target < high
    needed = math.exp(math.log(10) + (target - low) / (high - low) * (math.log(50) - math.log(10)))
    assert found["value"] == pytest.approx(100 / needed, abs=1e-3)
    assert 2 <= found["low"] <= found["value"] <= found["high"] <= 10
    assert found["at_least"] is False


def test_an_arm_that_never_gets_there_saves_nothing(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 200)
    assert saving(curves["poor"], curves["late"])["value"] == 0


def test_an_arm_that_is_there_at_once_saves_at_least_that_much(arms: dict[str, ArmResult]) -> None:
    arms["dual"] = arm("dual", {0.1: 0.9, 0.5: 0.95, 1.0: 0.95})
    curves = arm_curves(arms, SEEDS, 200)
    found = saving(curves["dual"], curves["late"])
    assert found["at_least"] is True
    assert found["value"] == 10


def test_the_baseline_saves_nothing_on_itself(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 200)
    assert saving(curves["late"], curves["late"])["value"] == pytest.approx(1)


def test_the_summary_is_json_and_names_the_headline(arms: dict[str, ArmResult]) -> None:
    curves = arm_curves(arms, SEEDS, 200)
    text = json.dumps(summarise(curves), allow_nan=False)
    summary = json.loads(text)["single_label"]
    assert summary["best_supervised"]["arm"] == "late"
    assert summary["best_supervised"]["n_labels"] == 100
    assert summary["test_groups"] == 30
    assert set(summary["label_saving_factor"]) == {"dual", "poor"}
    assert set(summary["supervised"]) == {"late", "s2"}
    assert text == json.dumps(summarise(arm_curves(arms, SEEDS, 200)), allow_nan=False)


def test_without_a_supervised_arm_there_is_no_headline(arms: dict[str, ArmResult]) -> None:
    del arms["late"], arms["s2"]
    summary = summarise(arm_curves(arms, SEEDS, 200))["single_label"]
    assert summary["best_supervised"] is None
    assert "label_saving_factor" not in summary


def test_recall_by_class_is_the_mean_over_seeds(arms: dict[str, ArmResult]) -> None:
    table = per_class(arms)
    assert list(table.columns) == ["arm", "fraction", "class", "recall", "sd_over_seeds"]
    assert len(table) == 4 * 3 * 3
    row = table[
        (table["arm"] == "dual") & (table["fraction"] == 0.5) & (table["class"] == "Water")
    ].iloc[0]
    given = arms["dual"].predictions
    recalls = []
    for seed in SEEDS:
        run = given[(given["fraction"] == 0.5) & (given["seed"] == seed) & (given["label"] == 2)]
        recalls.append((run["prediction"] == 2).mean())
    assert row["recall"] == pytest.approx(np.mean(recalls), abs=5e-5)
    assert row["sd_over_seeds"] == pytest.approx(np.std(recalls, ddof=1), abs=5e-5)


def test_a_class_that_is_not_tested_has_no_recall(arms: dict[str, ArmResult]) -> None:
    given = arms["dual"].predictions
    cut = ArmResult(**{**vars(arms["dual"]), "predictions": given[given["label"] != 1]})
    table = per_class({"dual": cut})
    assert table[table["class"] == "Urban"]["recall"].isna().all()
    assert len(table[table["class"] == "Urban"]) == 3
    assert table[table["class"] != "Urban"]["recall"].notna().all()


def test_plots_hold_one_row_a_point(arms: dict[str, ArmResult]) -> None:
    rows = plot_rows(tidy(arms))
    assert len(rows) == 4 * 3 * 2
    assert set(rows[0]) == {"arm", "fraction", "n_labels", "seed", "AA"}
    json.dumps(rows, allow_nan=False)


def test_an_arm_without_points_is_left_out_of_the_curves(arms: dict[str, ArmResult]) -> None:
    arms["empty"] = arm("empty", {})
    assert "empty" not in arm_curves(arms, SEEDS, 200)
    with pytest.raises(UserError, match="no arm has a point"):
        arm_curves({"empty": arms["empty"]}, SEEDS, 200)
