"""Scores and predictions on disk, between `evaluate` and `label_curve`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eocontrast.errors import UserError
from eocontrast.evaluation import Evaluation
from eocontrast.label_curve import ArmResult

_WORDS = dict.fromkeys(("id", "group", "actual", "predicted"), str)
"""NA is a group in Namibia, and a class may be called 1."""

_POINT = ("fraction", "seed", "n_labels", "n_validation")


def write_point(evaluation: Evaluation, path: Path) -> None:
    """Scores of one point, flat, as `dvc metrics` shows them."""
    header = evaluation.header
    recall = {f"recall.{name}": value for name, value in evaluation.recall.items()}
    scores = {**evaluation.scores, **recall, **{key: header[key] for key in _POINT}}
    _write(path, _rounded(scores))


def write_arm(
    name: str, evaluations: Sequence[Evaluation], left_out: dict[str, str], path: Path
) -> None:
    """Scores of all points of one arm, and what the arm is."""
    points = []
    for evaluation in evaluations:
        coordinates = {key: evaluation.header[key] for key in _POINT}
        details = {
            "recall": _rounded(evaluation.recall),
            "confusion": evaluation.confusion.tolist(),
        }
        points.append({**coordinates, **_rounded(evaluation.scores), **details})
    arm: dict[str, Any] = {"arm": name, "left_out": left_out, "points": points}
    if evaluations:
        header = evaluations[0].header
        described = ("task", "init", "fusion", "frozen", "lr", "classes")
        arm |= {key: header[key] for key in described}
        arm |= {"method": header["pretrained"]["method"], "inputs": evaluations[0].inputs}
    _write(path, arm)


def write_predictions(evaluations: Sequence[Evaluation], path: Path) -> None:
    """What every point said of every test patch: `fraction, seed, id, group, actual, predicted`."""
    tables = []
    for evaluation in evaluations:
        names = dict(enumerate(evaluation.header["classes"]))
        table = evaluation.predictions.assign(
            fraction=evaluation.header["fraction"],
            seed=evaluation.header["seed"],
            actual=evaluation.predictions["label"].map(names),
            predicted=evaluation.predictions["prediction"].map(names),
        )
        columns = ["fraction", "seed", "id", "group", "actual", "predicted", "confidence"]
        tables.append(table[columns])
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables or [pd.DataFrame()]).to_csv(path, index=False)


def read_arm(scores: Path, predictions: Path) -> ArmResult | None:
    """What `write_arm` and `write_predictions` left of one arm; None where no fraction fits.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        arm = json.loads(scores.read_text())
        if not arm["points"]:
            return None
        table = pd.read_csv(predictions, dtype=_WORDS, keep_default_na=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{scores} or {predictions} cannot be read ({error}): run `dvc repro evaluate_grid`"
        ) from error
    index = {name: number for number, name in enumerate(arm["classes"])}
    table["label"] = table["actual"].map(index)
    table["prediction"] = table["predicted"].map(index)
    points = pd.DataFrame(arm["points"]).drop(columns=["n_validation", "recall", "confusion"])
    return ArmResult(
        name=arm["arm"],
        task=arm["task"],
        init=arm["init"],
        inputs=arm["inputs"],
        supervised=arm["method"] == "random",
        classes=tuple(arm["classes"]),
        points=points,
        predictions=table,
        left_out=arm["left_out"],
    )


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    # JSON knows no NaN; a class without test patches has no recall
    return {k: None if v != v else round(v, 6) for k, v in values.items()}


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
