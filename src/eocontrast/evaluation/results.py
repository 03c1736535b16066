"""Scores and predictions on disk, between `evaluate` and `label_curve`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eocontrast.evaluation.scores import Tally, tally
from eocontrast.runtime.errors import COMES_BACK, readable
from eocontrast.runtime.files import whole, write_text

if TYPE_CHECKING:  # the curve is drawn without torch
    from eocontrast.evaluation.evaluate import Evaluation
    from eocontrast.models.finetuned import FinetunedSpec

_POINT = ("fraction", "seed", "n_labels", "n_pixels", "n_validation")
_DESCRIBED = ("task", "head", "init", "fusion", "frozen", "lr", "modality_dropout", "classes")


def write_point(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write the scores of one point, flat and few: each becomes a column of `dvc exp show`.

    The point's coordinates come first, then the metric of its task; the metric with one sensor
    alone is `<sensor>.<metric>`. Two tables stand beside the file: `<stem>_classes.csv` with
    `class, recall, F1, IoU`, empty for a class without test patches, and
    `<stem>_confusion.csv` with `actual, predicted, count`.
    """
    every = evaluations[0]
    metric = every.task.metric
    found = {metric: every.scores[metric], **every.scores}
    found |= {f"{alone.inputs}.{metric}": alone.scores[metric] for alone in evaluations[1:]}
    if every.task.exclusive:
        found.pop("micro_F1", None)  # it equals OA
    keys = ("task", "init", "fraction", "seed", "n_labels")
    shapes = ("n_shapes",) if every.spec.n_shapes else ()
    named = {key: getattr(every.spec, key) for key in (*keys, *shapes)}
    write_text(path, json.dumps(named | _rounded(found), indent=1) + "\n")
    classes = pd.DataFrame(_rounded(scored) for scored in every.by_class.values())
    classes.insert(0, "class", list(every.by_class))
    for table, frame in (("classes", classes), ("confusion", every.confusion)):
        write_text(path.with_name(f"{path.stem}_{table}.csv"), frame.to_csv(index=False))


def write_arm(
    name: str,
    points: Sequence[Sequence[Evaluation]],
    left_out: dict[str, str],
    scores: Path,
    predictions: Path,
    no_interval: Sequence[str] = (),
) -> None:
    """Write the description, the scores and the predictions of all points of one arm.

    Args:
        name: Name of the arm.
        points: Evaluations of every point by set of sensors, all sensors first.
        left_out: Fractions without a point, with the reason.
        scores: JSON file to write.
        predictions: Parquet file to write.
        no_interval: Reasons why the scores have no interval.
    """
    write_predictions(points, predictions)
    rows = [_described(evaluation) for point in points for evaluation in point]
    arm: dict[str, Any] = {"arm": name}
    if points:
        some = points[0][0]
        arm |= {key: getattr(some.spec, key) for key in _DESCRIBED}
        arm |= {"method": some.spec.method, "inputs": some.inputs}
        arm |= {"metric": some.task.metric, "exclusive": some.task.exclusive}
    arm |= {"left_out": left_out, "no_interval": list(no_interval), "points": rows}
    write_text(scores, json.dumps(arm, indent=1) + "\n")


def _point(spec: FinetunedSpec) -> tuple[str, ...]:
    """Return the coordinates of a point, with the number of shapes if its labels are shapes."""
    return (*_POINT, "n_shapes") if spec.n_shapes else _POINT


def _described(evaluation: Evaluation) -> dict[str, Any]:
    keys = (*_point(evaluation.spec), "pretraining_seed")
    coordinates = {key: getattr(evaluation.spec, key) for key in keys}
    return {
        **coordinates,
        "inputs": evaluation.inputs,
        "scores": _rounded(evaluation.scores),
        "by_class": {name: _rounded(scored) for name, scored in evaluation.by_class.items()},
        "confusion": evaluation.confusion.values.tolist(),
    }


def write_predictions(points: Sequence[Sequence[Evaluation]], path: Path) -> None:
    """Write the predictions of every point for every test patch, as Parquet.

    Columns `fraction, seed, inputs, id, group, actual, predicted, count`.
    """
    tables = [
        evaluation.predictions.assign(
            fraction=evaluation.spec.fraction,
            seed=evaluation.spec.seed,
            inputs=evaluation.inputs,
        )
        for point in points
        for evaluation in point
    ]
    columns = ["fraction", "seed", "inputs", "id", "group", "actual", "predicted", "count"]
    table = pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)
    names = ["inputs", "id", "group", "actual", "predicted"]
    with whole(path) as partial:
        # each name is stored once: a row per patch and pair of classes repeats few of them
        table.astype(dict.fromkeys(names, "category")).to_parquet(partial, index=False)


def read_arm(scores: Path, predictions: Path) -> ArmResult | None:
    """Read what `write_arm` wrote of one arm; None if it has no points.

    Raises:
        UserError: a file is missing or damaged.
    """
    again = f"run `dvc repro evaluate_grid`{COMES_BACK}"
    with readable(f"{scores} or {predictions} cannot be read", again):
        return _arm(json.loads(scores.read_text()), predictions)


def _arm(arm: dict[str, Any], predictions: Path) -> ArmResult | None:
    if not arm["points"]:
        return None
    table = pd.read_parquet(predictions)
    groups = np.unique(table["group"].astype(object).to_numpy())
    # the curve compares arms with all their sensors
    complete = table[table["inputs"] == arm["inputs"]]
    return ArmResult(
        name=arm["arm"],
        task=arm["task"],
        metric=arm["metric"],
        exclusive=arm["exclusive"],
        init=arm["init"],
        method=arm["method"],
        head=arm["head"],
        frozen=arm["frozen"],
        inputs=arm["inputs"],
        supervised=arm["method"] == "random",
        classes=tuple(arm["classes"]),
        points=_points(arm["points"]),
        by_class=_by_class(arm["points"]),
        groups=tuple(groups),
        tallies={
            (float(fraction), int(seed)): tally(rows, arm["classes"], groups)
            for (fraction, seed), rows in complete.groupby(["fraction", "seed"])
        },
        left_out=arm["left_out"],
        no_interval=tuple(arm["no_interval"]),
        origins={point["seed"]: point["pretraining_seed"] for point in arm["points"]},
    )


def _points(points: list[dict[str, Any]]) -> pd.DataFrame:
    kept = ("fraction", "seed", "n_labels", "n_shapes", "inputs")
    return pd.DataFrame([{k: p[k] for k in kept if k in p} | p["scores"] for p in points])


def _by_class(points: list[dict[str, Any]]) -> pd.DataFrame:
    kept = ("fraction", "seed", "inputs")
    return pd.DataFrame(
        [
            {**{k: p[k] for k in kept}, "class": name, **scored}
            for p in points
            for name, scored in p["by_class"].items()
        ]
    )


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    # JSON knows no NaN; a class without test patches has no recall
    return {k: None if v != v else round(v, 6) for k, v in values.items()}


@dataclass(frozen=True)
class ArmResult:
    """Results of one arm on the test split.

    Attributes:
        name: Name of the arm.
        task: single_label, multi_label or segmentation.
        metric: Score that arms of this task are compared by.
        exclusive: Whether exactly one class is right.
        init: Name of the weights that fine-tuning started from.
        method: Method of their pretraining.
        head: Head on the backbones.
        frozen: Whether the backbones stayed as they were.
        inputs: Sensors of the arm, `s1+s2` for both.
        supervised: Whether the arm uses no pretraining.
        classes: Names of the classes.
        points: One row per point and set of sensors: `fraction, seed, n_labels, inputs`, one
            column per score, and `n_shapes` if labels are polygons or points.
        by_class: One row per point, set of sensors and class: `fraction, seed, inputs, class,
            recall, F1, IoU`.
        groups: Test groups, sorted.
        tallies: Counts by (fraction, seed), (G, C, 4) each, with all sensors.
        left_out: Fractions too small for the classes, with the reason.
        no_interval: Reasons why the scores have no interval.
        origins: Seed of the pretraining that each seed of fine-tuning started from.
    """

    name: str
    task: str
    metric: str
    exclusive: bool
    init: str
    method: str
    head: str
    frozen: bool
    inputs: str
    supervised: bool
    classes: tuple[str, ...]
    points: pd.DataFrame
    by_class: pd.DataFrame
    groups: tuple[str, ...]
    tallies: Mapping[tuple[float, int], Tally]
    left_out: dict[str, str]
    no_interval: tuple[str, ...]
    origins: Mapping[int, int]

    @property
    def fractions(self) -> tuple[float, ...]:
        """Return the fractions that have points, in rising order."""
        return tuple(sorted({fraction for fraction, _ in self.tallies}))

    def seeds(self, fraction: float) -> tuple[int, ...]:
        """Return the seeds of the points of a fraction, in rising order."""
        return tuple(sorted(seed for at, seed in self.tallies if at == fraction))
