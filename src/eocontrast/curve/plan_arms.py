"""The arms of a label curve in a CSV, with scores on resampled test groups if counts are at hand.

A row of the CSV is a trained model: `task, arm, n_labels, seed, metric, value`. Two more columns
are optional: `init`, whose names begin with `random` for labels alone, and `inputs`, the sensors
that a model takes, joined by `+`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from eocontrast.curve.bootstrap import Resampling
from eocontrast.curve.power_law import Array
from eocontrast.evaluation.results import ArmResult, read_arm
from eocontrast.labels import METRICS
from eocontrast.runtime.errors import UserError

COLUMNS = ("task", "arm", "n_labels", "seed", "metric", "value")
FEWEST_COUNTS = 3
"""Distinct numbers of labels that a curve of three parameters needs."""


@dataclass(frozen=True)
class ArmRuns:
    """Trained models of one arm.

    Attributes:
        name: Name of the arm.
        task: Name of its task.
        metric: Name of the score.
        supervised: Whether the arm uses labels alone.
        n_labels: Labels of each model, (m,).
        scores: Score of each model, (m,).
        resampled: Scores on draws of the test groups, (B, m), the same draws for all arms of a
            task; None without counts by group.
        groups: Number of test groups; 0 without counts.
    """

    name: str
    task: str
    metric: str
    supervised: bool
    n_labels: Array
    scores: Array
    resampled: Array | None
    groups: int

    @property
    def most(self) -> float:
        """The largest number of labels."""
        return float(self.n_labels.max())

    def mean_at(self, n_labels: float) -> float:
        """Return the mean score of the models with so many labels."""
        return float(self.scores[self.n_labels == n_labels].mean())


def read_arms(path: Path, samples: int) -> dict[str, list[ArmRuns]]:
    """Read the arms of every task.

    Args:
        path: CSV. Test groups are resampled if `arms/` and `predictions/` beside it hold all arms.
        samples: Draws of the test groups.

    Raises:
        UserError: A file cannot be read, holds no score, or belongs to other models.
    """
    tasks = _checked(path, _rows(path)).groupby("task", sort=False)
    return {str(task): _arms(rows, path.parent, samples) for task, rows in tasks}


def _rows(path: Path) -> pd.DataFrame:
    """Return the rows that arms are compared by, indexed by their line in the file."""
    try:
        # skip a byte-order mark, which spreadsheets write
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or [])
            lines = dict((reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read ({error}): expected a CSV in UTF-8, such as `dvc repro` writes "
            "to metrics/label_curve.csv; name yours with --from-csv"
        ) from error
    if missing := [column for column in COLUMNS if column not in columns]:
        raise UserError(
            f"{path}, line 1: no column {', '.join(missing)} among {', '.join(columns) or 'none'}; "
            f"expected {', '.join(COLUMNS)}"
        )
    for line, row in lines.items():
        if None in row or None in row.values():
            raise UserError(
                f"{path}, line {line}: more or fewer fields than the header's {len(columns)}; "
                "quote fields that hold a comma"
            )
    if not lines:
        raise UserError(f"{path} has no row below its header; expected one per trained model")
    table = pd.DataFrame([*lines.values()], index=[*lines], dtype=object)
    table = table.reindex(columns=[*COLUMNS, "init", "inputs"], fill_value="")
    for task, rows in table.groupby("task", sort=False):
        metrics, own = rows["metric"].unique(), METRICS.get(str(task))
        if own not in metrics and len(metrics) > 1:
            raise UserError(
                f"{path}, line {rows.index[rows['metric'] == metrics[1]][0]}, column metric: "
                f"{metrics[1]} is another metric of task {task!r} than {metrics[0]}; keep the rows "
                "of one"
            )
        kept = own if own in metrics else metrics[0]
        table = table.drop(rows.index[rows["metric"] != kept])
    # keep the rows with all sensors: those with one alone score the same models again
    sensors = table["inputs"].str.count(r"\+")
    return table[sensors == sensors.groupby([table["task"], table["arm"]]).transform("max")]


def _checked(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with numbers as such, or name the first wrong one by line and column."""

    def refuse(bad: pd.Series[bool], column: str, reason: str) -> None:
        if bad.any():
            line, value = table.index[bad][0], table[column][bad].iloc[0]
            raise UserError(f"{path}, line {line}, column {column}: {value!r} {reason}")

    for column in ("task", "arm", "seed"):
        refuse(table[column].str.strip() == "", column, "is empty; expected a name")
    numbers = table[["n_labels", "value"]].apply(pd.to_numeric, errors="coerce")
    for column in numbers:
        refuse(~np.isfinite(numbers[column]), str(column), "is no number; write one")
    # the curve is a power of the number of labels
    refuse(numbers["n_labels"] <= 0, "n_labels", "is no number of labels; expected 1 or more")
    low_high = numbers["value"].between(0, 1)
    refuse(~low_high, "value", "is no score from 0 to 1; divide percents by 100")
    table = table.assign(**{str(column): numbers[column].astype(float) for column in numbers})
    model = table.groupby(["task", "arm", "n_labels", "seed"])["value"]
    first = model.transform(lambda values: values.index[0])
    again = first != table.index
    if again.any():
        reason = f"has a row already in line {first[again].iloc[0]:g}; expected one per model"
        refuse(again, "seed", reason)
    for (task, arm), counts in table.groupby(["task", "arm"], sort=False)["n_labels"]:
        if counts.nunique() < FEWEST_COUNTS:
            numbers_of = ", ".join(f"{n:g}" for n in sorted(counts.unique()))
            raise UserError(
                f"{path}, column n_labels: {arm} ({task}) has {numbers_of} alone; expected "
                f"{FEWEST_COUNTS} distinct numbers of labels or more: train it on more fractions"
            )
    return table


def _arms(table: pd.DataFrame, folder: Path, samples: int) -> list[ArmRuns]:
    arms = []
    for name, rows in table.groupby("arm", sort=False):
        task, metric, init = rows.iloc[0][["task", "metric", "init"]]
        # an ensemble starts from several inits, joined by a plus
        supervised = all(part.startswith("random") for part in init.split(" + "))
        n_labels, scores = (rows[column].to_numpy(float) for column in ("n_labels", "value"))
        arms.append(ArmRuns(str(name), task, metric, supervised, n_labels, scores, None, 0))
    files = [folder / f"arms/{arm.name}.json" for arm in arms]
    counts = [folder / f"predictions/{arm.name}.parquet" for arm in arms]
    if not all(path.exists() for path in (*files, *counts)):
        return arms
    results = [read_arm(*pair) for pair in zip(files, counts, strict=True)]
    groups = sorted({group for result in results if result for group in result.groups})
    # one seed a point here: the curves of the plan carry the spread over seeds
    draws = Resampling(len(groups), seeds=1, samples=samples)
    resampled = []
    for arm, file, result in zip(arms, files, results, strict=True):
        same = result and _resample(result, groups, draws)
        if not same or not _same_scores(arm, same):
            raise UserError(
                f"{file} holds other models than the curve beside it: run `dvc repro label_curve`, "
                "or move the curve elsewhere to plan by seeds alone"
            )
        resampled.append(same)
    # without the draws of groups in which an arm has no patch, and so no score
    drawn = [arm.resampled for arm in resampled if arm.resampled is not None]
    finite = np.isfinite(np.concatenate(drawn, axis=1)).all(axis=1)
    pairs = zip(resampled, drawn, strict=True)
    return [replace(arm, resampled=scores[finite]) for arm, scores in pairs]


def _resample(result: ArmResult, groups: list[str], draws: Resampling) -> ArmRuns:
    points = result.points[result.points["inputs"] == result.inputs]
    scored = []
    for fraction, seed in points[["fraction", "seed"]].itertuples(index=False):
        # a group without a scored pixel is missing in the result
        counts = np.zeros((1, len(groups), len(result.classes), 4))
        counts[0, np.searchsorted(groups, result.groups)] = result.tallies[fraction, seed]
        scored.append(draws.score(counts, result.metric, result.exclusive))
    return ArmRuns(
        name=result.name,
        task=result.task,
        metric=result.metric,
        supervised=result.supervised,
        n_labels=points["n_labels"].to_numpy(float),
        scores=np.array([value for value, _ in scored]),
        resampled=np.stack([replicates for _, replicates in scored], axis=1),
        groups=len(groups),
    )


def _same_scores(one: ArmRuns, other: ArmRuns) -> bool:
    """Return whether two tables of runs agree, in any order."""
    first, second = (np.array(sorted(zip(a.n_labels, a.scores))) for a in (one, other))  # noqa: B905
    return first.shape == second.shape and np.allclose(first, second, atol=1e-5)
