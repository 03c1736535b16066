import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eocontrast.errors import UserError
from eocontrast.evaluation import Evaluation
from eocontrast.results import read_arm, write_arm, write_point, write_predictions

CLASSES = ["Forest", "Urban", "Water"]


def evaluation(
    fraction: float = 0.1,
    seed: int = 0,
    method: str = "random",
    groups: tuple[str, str, str] = ("a", "b", "b"),
    classes: list[str] | None = None,
) -> Evaluation:
    header = {
        "task": "single_label",
        "init": "random_resnet",
        "fusion": "late",
        "frozen": False,
        "lr": 1e-3,
        "classes": classes or CLASSES,
        "pretrained": {"method": method},
        "fraction": fraction,
        "seed": seed,
        "n_labels": 12,
        "n_validation": 2,
    }
    predictions = pd.DataFrame(
        {
            "id": ["001", "002", "003"],
            "group": list(groups),
            "label": [0, 0, 2],
            "prediction": [0, 1, 2],
            "confidence": [0.5, 0.75, 1.0],
        }
    )
    names = classes or CLASSES
    recall = {names[0]: 0.5, names[1]: math.nan, names[2]: 1.0}
    confusion = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    return Evaluation(header, {"AA": 0.75, "OA": 2 / 3}, recall, confusion, predictions)


def test_an_arm_comes_back_as_it_was_written(tmp_path: Path) -> None:
    found = [evaluation(0.1, 0), evaluation(0.1, 1), evaluation(1.0, 0)]
    scores, table = tmp_path / "m/arm.json", tmp_path / "p/arm.csv"
    write_arm("late", found, {"0.01": "too few"}, scores)
    write_predictions(found, table)
    arm = read_arm(scores, table)
    assert arm is not None
    assert (arm.name, arm.task, arm.init, arm.inputs) == (
        "late",
        "single_label",
        "random_resnet",
        "s1+s2",
    )
    assert arm.supervised
    assert arm.classes == tuple(CLASSES)
    assert arm.left_out == {"0.01": "too few"}
    assert arm.points[["fraction", "seed", "n_labels", "AA"]].values.tolist() == [
        [0.1, 0, 12, 0.75],
        [0.1, 1, 12, 0.75],
        [1.0, 0, 12, 0.75],
    ]
    assert list(arm.points.columns) == ["fraction", "seed", "n_labels", "AA", "OA"]
    assert len(arm.predictions) == 9
    given = found[0].predictions
    first = arm.predictions.iloc[:3]
    for column in ("id", "group", "label", "prediction"):
        assert list(first[column]) == list(given[column])


def test_a_pretrained_arm_is_not_supervised(tmp_path: Path) -> None:
    found = [evaluation(method="dual_simclr")]
    write_arm("dual", found, {}, tmp_path / "a.json")
    write_predictions(found, tmp_path / "a.csv")
    arm = read_arm(tmp_path / "a.json", tmp_path / "a.csv")
    assert arm is not None
    assert not arm.supervised


@pytest.mark.parametrize("word", ["NA", "None", "null", "nan", "007", "1e5"])
def test_words_that_pandas_takes_for_something_else_stay_words(tmp_path: Path, word: str) -> None:
    """NA is Namibia; None is a class that somebody will have."""
    found = [evaluation(groups=("a", word, word), classes=["Forest", word, "Water"])]
    write_arm("late", found, {}, tmp_path / "a.json")
    write_predictions(found, tmp_path / "a.csv")
    arm = read_arm(tmp_path / "a.json", tmp_path / "a.csv")
    assert arm is not None
    assert list(arm.predictions["group"]) == ["a", word, word]
    assert list(arm.predictions["prediction"]) == [0, 1, 2]


def test_numbers_can_name_groups_and_classes(tmp_path: Path) -> None:
    found = [evaluation(groups=("1", "2", "2"), classes=["1", "2", "3"])]
    write_arm("late", found, {}, tmp_path / "a.json")
    write_predictions(found, tmp_path / "a.csv")
    arm = read_arm(tmp_path / "a.json", tmp_path / "a.csv")
    assert arm is not None
    assert list(arm.predictions["group"]) == ["1", "2", "2"]
    assert list(arm.predictions["label"]) == [0, 0, 2]
    assert list(arm.predictions["prediction"]) == [0, 1, 2]


def test_an_arm_whose_fractions_are_all_too_small_has_no_result(tmp_path: Path) -> None:
    write_arm("late", [], {"0.01": "few"}, tmp_path / "a.json")
    write_predictions([], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").exists()
    assert read_arm(tmp_path / "a.json", tmp_path / "a.csv") is None


def test_a_point_is_flat_and_knows_no_nan(tmp_path: Path) -> None:
    write_point(evaluation(), tmp_path / "test.json")
    text = (tmp_path / "test.json").read_text()
    assert "NaN" not in text
    point = json.loads(text)
    assert point["AA"] == 0.75
    assert point["OA"] == 0.666667
    assert point["recall.Urban"] is None
    assert (point["fraction"], point["n_labels"], point["n_validation"]) == (0.1, 12, 2)


def test_predictions_are_written_with_the_names_of_the_classes(tmp_path: Path) -> None:
    write_predictions([evaluation()], tmp_path / "p.csv")
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "fraction,seed,id,group,actual,predicted,confidence"
    assert lines[2] == "0.1,0,002,b,Forest,Urban,0.75"


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_arm("late", [evaluation()], {}, tmp_path / f"{name}.json")
        write_predictions([evaluation()], tmp_path / f"{name}.csv")
    for kind in ("json", "csv"):
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two


@pytest.mark.parametrize("damage", ["no scores", "no predictions", "half", "foreign"])
def test_results_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    scores, table = tmp_path / "a.json", tmp_path / "a.csv"
    write_arm("late", [evaluation()], {}, scores)
    write_predictions([evaluation()], table)
    if damage == "no scores":
        scores.unlink()
    elif damage == "no predictions":
        table.unlink()
    else:
        text = scores.read_text()
        scores.write_text(text[: len(text) // 2] if damage == "half" else "{}")
    with pytest.raises(UserError, match=r"a\.json.*dvc repro"):
        read_arm(scores, table)
