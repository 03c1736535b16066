"""The tables of the curve: every score, scores by class, and the points of DVC's plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eocontrast.evaluation.results import ArmResult

COLUMNS = ("task", "arm", "init", "inputs", "fraction", "n_labels", "seed", "metric", "value")
SHAPES = "n_shapes"
"""Further column if labels are polygons or points: how many of them the labelled patches show."""


def tidy(arms: Mapping[str, ArmResult]) -> pd.DataFrame:
    """Return all scores of all points in the columns of `COLUMNS`, and `SHAPES` if known."""
    tables, columns = [], list(COLUMNS)
    if all(SHAPES in arm.points for arm in arms.values()):
        columns.insert(columns.index("n_labels") + 1, SHAPES)
    for arm in arms.values():
        points = arm.points.assign(task=arm.task, arm=arm.name, init=arm.init)
        keys = [column for column in columns if column not in ("metric", "value")]
        tables.append(points.melt(id_vars=keys, var_name="metric", value_name="value"))
    return pd.concat(tables)[columns].reset_index(drop=True)


def per_class(arms: Mapping[str, ArmResult]) -> pd.DataFrame:
    """Return mean and sd over seeds by arm, fraction and class; NaN for classes not tested."""
    tables = []
    for arm in arms.values():
        whole = arm.by_class[arm.by_class["inputs"] == arm.inputs]
        known = whole.astype({"recall": float, "F1": float, "IoU": float})
        grouped = known.groupby(["fraction", "class"], sort=False)[["recall", "F1", "IoU"]]
        mean, sd = grouped.mean().round(4), grouped.std().round(4).add_suffix("_sd")
        table = pd.concat([mean, sd], axis=1).reset_index()
        table.insert(0, "arm", arm.name)
        table.insert(0, "task", arm.task)
        tables.append(table)
    return pd.concat(tables).reset_index(drop=True)


def plot_rows(arms: Mapping[str, ArmResult]) -> list[dict[str, Any]]:
    """Return the score of every point with all sensors, for `dvc plots`."""
    rows = []
    for arm in arms.values():
        whole = arm.points[arm.points["inputs"] == arm.inputs]
        columns = ["fraction", "n_labels", "seed", arm.metric]
        for fraction, n_labels, seed, value in whole[columns].values.tolist():
            where = {"task": f"{arm.task} ({arm.metric})", "arm": arm.name, "fraction": fraction}
            rows.append({**where, "n_labels": n_labels, "seed": seed, "score": value})
    return rows
