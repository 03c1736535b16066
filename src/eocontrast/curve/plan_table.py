"""A label curve as a CSV, this project's or anybody's: read, and refused by file, line and column.

One row a trained model: `task, arm, n_labels, seed, metric, value`. Two columns more are used where
they are there: `init`, whose names begin with `random` where labels alone were used, and `inputs`,
the sensors that a model was given, joined by `+`.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from eocontrast.runtime.errors import UserError

COLUMNS = ("task", "arm", "n_labels", "seed", "metric", "value")

METRICS = {"single_label": "AA", "multi_label": "macro_F1", "segmentation": "mIoU"}
"""The score that arms of a task are compared by, as `tasks.TASKS` has it, without torch."""

Line = tuple[int, dict[str, str]]
"""A row by column, with the line of the file that it ends in."""

FEWEST_COUNTS = 3
"""A curve of three parameters says nothing of fewer."""


@dataclass(frozen=True)
class Run:
    """One trained model.

    Attributes:
        task: what was learnt.
        arm: of the curve.
        init: what fine-tuning started from; empty where the CSV does not tell.
        inputs: the sensors that it was given, joined by `+`; likewise.
        n_labels: labelled patches, above 0.
        seed: of the labelled subset, as written.
        metric: name of the score.
        value: from 0 to 1.
    """

    task: str
    arm: str
    init: str
    inputs: str
    n_labels: float
    seed: str
    metric: str
    value: float


def read_runs(path: Path) -> dict[tuple[str, str], list[Run]]:
    """The runs of every task and arm, by the task's metric and with all of the arm's sensors.

    Raises:
        UserError: the file is unreadable or empty, lacks a column, or holds what is no score; an
            arm has fewer than three numbers of labels, or a seed twice.
    """
    arms: dict[tuple[str, str], list[Run]] = {}
    seen: dict[tuple[str, ...], int] = {}
    for line, row in _compared(path, _lines(path)):
        run = _run(f"{path}, line {line}", row)
        first = seen.setdefault((run.task, run.arm, str(run.n_labels), run.seed), line)
        if first != line:
            raise UserError(
                f"{path}, line {line}, column seed: {run.arm} has seed {run.seed} at "
                f"{run.n_labels:g} labels already in line {first}; expected one row a model"
            )
        arms.setdefault((run.task, run.arm), []).append(run)
    for (task, arm), runs in arms.items():
        _refuse_few(f"{path}, column n_labels", task, arm, runs)
    return arms


def _compared(path: Path, lines: list[Line]) -> list[Line]:
    """The rows that arms are compared by: of their task's metric, with the most sensors."""
    metrics = _metrics(path, lines)
    most: dict[tuple[str, str], int] = {}
    for _, row in lines:
        key = row["task"], row["arm"]
        most[key] = max(most.get(key, 0), _sensors(row))
    return [
        (line, row)
        for line, row in lines
        if row["metric"] == metrics[row["task"]] and _sensors(row) == most[row["task"], row["arm"]]
    ]


def _sensors(row: dict[str, str]) -> int:
    return row.get("inputs", "").count("+")


def _lines(path: Path) -> list[Line]:
    """Rows by column, with the line of the file that they end in."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            lines = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read ({error}): expected a CSV in UTF-8, such as `dvc repro` leaves "
            "in metrics/label_curve.csv; name yours with --from-csv"
        ) from error
    lacking = [column for column in COLUMNS if column not in columns]
    if lacking:
        raise UserError(
            f"{path}, line 1: no column {', '.join(lacking)} among {', '.join(columns) or 'none'}; "
            f"expected {', '.join(COLUMNS)}"
        )
    if not lines:
        raise UserError(f"{path} has no row below its header; expected one a trained model")
    for line, row in lines:
        if None in row or None in row.values():
            raise UserError(
                f"{path}, line {line}: more or fewer fields than the header's {len(columns)} "
                "columns; quote fields that hold a comma"
            )
    return lines


def _metrics(path: Path, lines: list[Line]) -> dict[str, str]:
    """The metric of every task: this project's, or the only one there is."""
    known: dict[str, dict[str, int]] = {}
    for line, row in lines:
        known.setdefault(row["task"], {}).setdefault(row["metric"], line)
    found = {}
    for task, metrics in known.items():
        own = METRICS.get(task)
        if own not in metrics and len(metrics) > 1:
            name, line = list(metrics.items())[1]
            raise UserError(
                f"{path}, line {line}, column metric: {name} is another metric of task {task!r} "
                f"than {next(iter(metrics))}; keep the rows of one"
            )
        found[task] = own if own in metrics and own else next(iter(metrics))
    return found


def _run(where: str, row: dict[str, str]) -> Run:
    for column in ("task", "arm", "seed"):
        if not row[column].strip():
            raise UserError(f"{where}, column {column}: is empty; expected a name")
    n_labels = _number(where, row, "n_labels")
    if n_labels <= 0:
        raise UserError(
            f"{where}, column n_labels: {row['n_labels']} labels; expected more than none"
        )
    value = _number(where, row, "value")
    if not 0 <= value <= 1:
        raise UserError(
            f"{where}, column value: {row['value']} is no score from 0 to 1; divide percents by 100"
        )
    names = {key: row.get(key, "") for key in ("task", "arm", "init", "inputs", "seed", "metric")}
    return Run(n_labels=n_labels, value=value, **names)


def _number(where: str, row: dict[str, str], column: str) -> float:
    try:
        number = float(row[column])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}, column {column}: {row[column]!r} is no number; write one")
    return number


def _refuse_few(where: str, task: str, arm: str, runs: list[Run]) -> None:
    counts = sorted({run.n_labels for run in runs})
    if len(counts) < FEWEST_COUNTS:
        raise UserError(
            f"{where}: {arm} ({task}) has {', '.join(f'{n:g}' for n in counts)} alone; expected "
            f"{FEWEST_COUNTS} distinct numbers of labels or more: train it on more fractions"
        )
