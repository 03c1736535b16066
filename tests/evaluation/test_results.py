import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from specs import finetuned_spec

from eocontrast.curve.label_curve import arm_curves
from eocontrast.curve.tables import COLUMNS, SHAPES, tidy
from eocontrast.evaluation.evaluate import Evaluation
from eocontrast.evaluation.results import (
    ArmResult,
    read_arm,
    write_arm,
    write_point,
    write_predictions,
)
from eocontrast.evaluation.scores import tally
from eocontrast.models.tasks import TaskName
from eocontrast.runtime.errors import UserError

CLASSES = ("Forest", "Urban", "Water")
SAID = [
    ("001", "a", 0, 0, 3),
    ("001", "a", 0, 1, 1),
    ("002", "b", 2, 1, 5),
    ("003", "b", 2, 2, 7),
]
"""Patch, group, true and predicted class, and how often; class 1 is never true."""


def evaluation(
    fraction: float = 0.1,
    seed: int = 0,
    inputs: str = "s1+s2",
    task: TaskName = "segmentation",
    classes: tuple[str, ...] = CLASSES,
    groups: tuple[str, str] = ("a", "b"),
    **fields: Any,  # noqa: ANN401 - more of the header
) -> Evaluation:
    default: dict[str, Any] = {
        "task": task,
        "head": "swin_unet",
        "init": "random_swin",
        "classes": classes,
        "fraction": fraction,
        "seed": seed,
        "n_pixels": 3000,
        "n_validation": 2,
    }
    spec = finetuned_spec(**{**default, **fields})
    names = dict(zip("ab", groups, strict=True))
    rows = [(i, names[g], classes[true], classes[said], n) for i, g, true, said, n in SAID]
    table = pd.DataFrame(rows, columns=["id", "group", "actual", "predicted", "count"])
    nothing = dict.fromkeys(("recall", "F1", "IoU"), math.nan)
    by_class = {
        classes[0]: {"recall": 0.75, "F1": 6 / 7, "IoU": 0.75},
        classes[1]: nothing,
        classes[2]: {"recall": 7 / 12, "F1": 14 / 19, "IoU": 7 / 12},
    }
    scores = {"AA": 2 / 3, "OA": 0.625, "mIoU": 2 / 3, "ECE": 0.25}
    return Evaluation(spec, inputs, scores, by_class, table)


def point(fraction: float = 0.1, seed: int = 0, **fields: Any) -> list[Evaluation]:  # noqa: ANN401
    """All sensors, and each alone, which says Forest to everything."""
    found = [evaluation(fraction, seed, inputs, **fields) for inputs in ("s1+s2", "s1", "s2")]
    for number in (1, 2):
        said = found[number].predictions.assign(predicted=found[number].spec.classes[0])
        scores = {name: value / 2 for name, value in found[number].scores.items()}
        found[number] = replace(found[number], predictions=said, scores=scores)
    return found


def round_trip(points: list[list[Evaluation]], folder: Path, **left_out: str) -> ArmResult:
    write_arm("arm", points, left_out, folder / "m/arm.json", folder / "p/arm.parquet")
    arm = read_arm(folder / "m/arm.json", folder / "p/arm.parquet")
    assert arm is not None
    return arm


# --- arms


def test_an_arm_comes_back_as_it_was_written(tmp_path: Path) -> None:
    points = [point(0.1, 0), point(0.1, 1), point(1.0, 0)]
    arm = round_trip(points, tmp_path, **{"0.01": "too few"})
    assert (arm.name, arm.task, arm.metric, arm.exclusive) == ("arm", "segmentation", "mIoU", True)
    assert (arm.init, arm.method, arm.head, arm.frozen) == (
        "random_swin",
        "random",
        "swin_unet",
        False,
    )
    assert (arm.inputs, arm.supervised, arm.classes) == ("s1+s2", True, CLASSES)
    assert arm.left_out == {"0.01": "too few"}
    columns = ["fraction", "seed", "n_labels", "inputs", "AA", "OA", "mIoU", "ECE"]
    assert list(arm.points.columns) == columns
    coordinates = arm.points[["fraction", "seed", "n_labels", "inputs", "OA"]].values.tolist()
    assert coordinates == [
        [fraction, seed, 12, inputs, oa]
        for fraction, seed in ((0.1, 0), (0.1, 1), (1.0, 0))
        for inputs, oa in (("s1+s2", 0.625), ("s1", 0.3125), ("s2", 0.3125))
    ]
    assert arm.points["mIoU"].iloc[0] == pytest.approx(2 / 3, abs=1e-6)


def test_counts_by_group_are_those_of_all_sensors(tmp_path: Path) -> None:
    arm = round_trip([point(0.1, 0), point(1.0, 1)], tmp_path)
    assert arm.groups == ("a", "b")
    assert set(arm.tallies) == {(0.1, 0), (1.0, 1)}
    groups = np.array(["a", "b"], dtype=object)
    expected = tally(evaluation().predictions, CLASSES, groups)
    for found in arm.tallies.values():
        np.testing.assert_array_equal(found, expected)
    assert arm.tallies[0.1, 0][1].tolist() == [[0, 0, 0, 12], [0, 5, 0, 7], [7, 0, 5, 0]]


def test_scores_by_class_come_back_and_an_absent_class_has_none(tmp_path: Path) -> None:
    by_class = round_trip([point()], tmp_path).by_class
    columns = ["fraction", "seed", "inputs", "class", "recall", "F1", "IoU"]
    assert list(by_class.columns) == columns
    assert by_class["class"].tolist() == list(CLASSES) * 3
    assert by_class["inputs"].tolist() == ["s1+s2"] * 3 + ["s1"] * 3 + ["s2"] * 3
    scored = by_class[["recall", "F1", "IoU"]].astype(float)
    assert scored.iloc[1].isna().all()
    assert scored.iloc[2].tolist() == pytest.approx([7 / 12, 14 / 19, 7 / 12], abs=1e-6)


@pytest.mark.parametrize("method", ["dual_simclr", "imported"])
def test_a_pretrained_arm_is_not_supervised(tmp_path: Path, method: str) -> None:
    arm = round_trip([point(method=method)], tmp_path)
    assert (arm.method, arm.supervised) == (method, False)


def test_several_classes_of_a_patch_come_back(tmp_path: Path) -> None:
    found = evaluation(task="multi_label")
    rows = [("1", "a", "Forest|Water", "Water", 1), ("2", "a", "none", "Forest|Urban", 1)]
    table = pd.DataFrame(rows, columns=found.predictions.columns)
    arm = round_trip([[replace(found, predictions=table)]], tmp_path)
    assert (arm.metric, arm.exclusive) == ("macro_F1", False)
    assert arm.tallies[0.1, 0][0].tolist() == [[0, 1, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1]]


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "007", "1e5", "1"])
def test_words_that_pandas_takes_for_something_else_stay_words(tmp_path: Path, word: str) -> None:
    """NA is Namibia; None is a class that somebody will have; numbers can name both."""
    for kind in ({"groups": ("0", word)}, {"classes": ("0", word, "Water")}):
        arm = round_trip([point(**kind)], tmp_path)
        assert (arm.groups[-1], arm.classes[1]) == (
            word if "groups" in kind else "b",
            word if "classes" in kind else "Urban",
        )
        assert arm.tallies[0.1, 0].shape == (2, 3, 4)
        assert arm.tallies[0.1, 0][0].tolist() == [[3, 0, 1, 0], [0, 1, 0, 3], [0, 0, 0, 4]]
        assert arm.by_class["class"].tolist()[1] == arm.classes[1]


def test_an_arm_whose_fractions_are_all_too_small_has_no_result(tmp_path: Path) -> None:
    write_arm("late", [], {"0.01": "few"}, tmp_path / "a.json", tmp_path / "a.parquet")
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 0
    assert read_arm(tmp_path / "a.json", tmp_path / "a.parquet") is None


@pytest.mark.parametrize("damage", ["no scores", "no predictions", "half", "half table", "foreign"])
def test_results_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    scores, table = tmp_path / "a.json", tmp_path / "a.parquet"
    write_arm("late", [point()], {}, scores, table)
    if damage == "no scores":
        scores.unlink()
    elif damage == "no predictions":
        table.unlink()
    elif damage == "half table":
        table.write_bytes(table.read_bytes()[:200])
    else:
        text = scores.read_text()
        scores.write_text(text[: len(text) // 2] if damage == "half" else "{}")
    with pytest.raises(UserError, match=r"a\.json.*dvc repro"):
        read_arm(scores, table)


# --- files


def test_an_arms_file_knows_no_nan_and_holds_the_confusion(tmp_path: Path) -> None:
    write_arm("late", [point()], {}, tmp_path / "a.json", tmp_path / "a.parquet")
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text
    arm = json.loads(text)
    assert [p["inputs"] for p in arm["points"]] == ["s1+s2", "s1", "s2"]
    first = arm["points"][0]
    assert (first["n_labels"], first["n_pixels"], first["n_validation"]) == (12, 3000, 2)
    assert first["by_class"]["Urban"] == {"recall": None, "F1": None, "IoU": None}
    assert first["confusion"] == [
        ["Forest", "Forest", 3],
        ["Forest", "Urban", 1],
        ["Water", "Urban", 5],
        ["Water", "Water", 7],
    ]


def test_a_point_is_flat_and_knows_no_nan(tmp_path: Path) -> None:
    write_point(point(), tmp_path / "test.json")
    text = (tmp_path / "test.json").read_text()
    assert "NaN" not in text
    found = json.loads(text)
    assert (found["OA"], found["AA"]) == (0.625, 0.666667)
    assert found["s2.mIoU"] == 0.333333
    assert [found[k] for k in ("fraction", "seed", "n_labels")] == [0.1, 0, 12]
    assert not any(isinstance(value, dict) for value in found.values())
    assert list(found)[:5] == ["task", "init", "fraction", "seed", "n_labels"]
    assert list(found)[5:7] == ["mIoU", "AA"]  # the task's metric before the others
    assert len(found) <= 12  # columns of `dvc exp show`
    assert "micro_F1" not in found


def test_scores_of_classes_are_a_table(tmp_path: Path) -> None:
    write_point(point(), tmp_path / "test.json")
    table = pd.read_csv(tmp_path / "test_classes.csv", index_col="class")
    assert list(table.columns) == ["recall", "F1", "IoU"]
    assert list(table.index) == list(CLASSES)
    assert table.loc["Urban"].isna().all()
    assert (table.loc["Water", "recall"], table.loc["Forest", "IoU"]) == (0.583333, 0.75)


def test_predictions_are_written_with_the_names_of_the_classes(tmp_path: Path) -> None:
    write_predictions([point(0.1, 0), point(1.0, 2)], tmp_path / "p.parquet")
    table = pd.read_parquet(tmp_path / "p.parquet")
    columns = ["fraction", "seed", "inputs", "id", "group", "actual", "predicted", "count"]
    assert list(table.columns) == columns
    assert len(table) == 2 * 3 * 4
    assert table.iloc[1].tolist() == [0.1, 0, "s1+s2", "001", "a", "Forest", "Urban", 1]
    assert table.iloc[-1].tolist() == [1.0, 2, "s2", "003", "b", "Water", "Forest", 7]


def test_the_confusion_is_a_table(tmp_path: Path) -> None:
    write_point(point(), tmp_path / "test.json")
    lines = (tmp_path / "test_confusion.csv").read_text().splitlines()
    assert lines[:3] == ["actual,predicted,count", "Forest,Forest,3", "Forest,Urban,1"]


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        files = (tmp_path / f"{name}.json", tmp_path / f"{name}.parquet")
        write_arm("late", [point()], {}, *files)
    for kind in ("json", "parquet"):
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_polygons_are_counted_in_the_results(tmp_path: Path) -> None:
    without, scored = point(), evaluation(n_shapes=31)
    for name, points in (("without", without), ("with", [scored])):
        files = (tmp_path / f"{name}.json", tmp_path / f"{name}.parquet")
        write_arm("late", [points], {}, *files)
        arm = read_arm(*files)
        assert arm
        assert ("n_shapes" in arm.points) == (name == "with")
        columns = [*tidy({"late": arm}).columns]
        assert columns == [*COLUMNS[:6], *([SHAPES] if name == "with" else []), *COLUMNS[6:]]
    assert arm
    assert arm.points.n_shapes.tolist() == [31]
    curve = arm_curves({"late": arm}, samples=10)["late"]
    assert curve.n_shapes is not None
    assert curve.n_shapes.tolist() == [31]
