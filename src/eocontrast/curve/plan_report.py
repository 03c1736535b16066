"""A plan told: a table a task, or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Any

from eocontrast.curve.bootstrap import Interval
from eocontrast.curve.plan import HORIZON, ArmPlan, TaskPlan

_MARK = "*"
_NOTE = f"""\
{_MARK} extrapolated: more labels than were tried; no number is given beyond {HORIZON} times as many
today: the fitted curve at the most labels that were tried; held out: the scores measured there,
predicted from the others
"""


def plan_tables(plans: Sequence[TaskPlan]) -> str:
    """What every arm needs, a table a task, then what its marks mean."""
    return "\n\n".join([*map(_table, plans), _NOTE.rstrip()])


def plan_entries(plans: Sequence[TaskPlan]) -> list[dict[str, Any]]:
    """The same for JSON, by task and arm; numbers of labels beyond the horizon are null."""
    return [
        {
            "task": made.task,
            "metric": made.metric,
            "target": made.target,
            "best_supervised": made.baseline,
            "arms": [_entry(arm) for arm in made.arms],
        }
        for made in plans
    ]


def _entry(arm: ArmPlan) -> dict[str, Any]:
    runs, saving, test = arm.runs, arm.saving, arm.held_out
    return {
        "arm": runs.name,
        "supervised": runs.supervised,
        "n_labels": sorted({*runs.n_labels.tolist()}),
        "resampled": _resampled(arm),
        "test_groups": runs.groups,
        "reach": arm.reach,
        "labels_needed": _finite(arm.labels, 0, below=HORIZON * runs.most),
        "label_saving_factor": saving
        and {**_finite(saving.factor, 2), "at_least": saving.at_least},
        "score_today": _finite(arm.today),
        "doubling_adds": _finite(arm.doubling),
        "top": _finite(arm.top),
        "held_out": test
        and {**_finite(test.predicted), "measured": round(test.measured, 4), "within": test.within},
    }


def _finite(
    interval: Interval, digits: int = 4, below: float = math.inf
) -> dict[str, float | None]:
    # JSON knows no infinity
    return {
        key: round(value, digits) if math.isfinite(value) and value <= below else None
        for key, value in asdict(interval).items()
    }


def _resampled(arm: ArmPlan) -> list[str]:
    return ["seeds", "test groups"] if arm.runs.groups else ["seeds"]


def _table(made: TaskPlan) -> str:
    some = made.arms[0]
    over = f"seeds and {some.runs.groups} test groups" if some.runs.groups else "seeds alone"
    title = f"{made.task}: labels for {made.metric} {made.target:g} (95 % intervals, {over})"
    header = (
        "arm",
        f"labels for {made.target:g}",
        f"saves over {made.baseline}" if made.baseline else "saves",
        f"{made.metric} today",
        f"twice as many add{_MARK}",
        "held out: predicted",
        "measured",
    )
    rows = [header, *(_row(arm) for arm in made.arms)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([title, *lines])


def _row(arm: ArmPlan) -> tuple[str, ...]:
    test = arm.held_out
    measured = "-" if test is None else f"{test.measured:.2f}{'' if test.within else ' (outside)'}"
    return (
        arm.runs.name,
        labels_in_words(arm),
        _saving_in_words(arm),
        _score(arm.today),
        _score(arm.doubling, 3),
        "-" if test is None else _score(test.predicted),
        measured,
    )


def labels_in_words(arm: ArmPlan) -> str:
    """How many labels the target needs, with the interval, as far as that can be said."""
    if arm.reach == "not reachable":
        return f"not reachable (top {_score(arm.top)})"
    low, high = (_labels(end, arm) for end in (arm.labels.low, arm.labels.high))
    if low.startswith("beyond"):
        return low
    return f"{_labels(arm.labels.value, arm)} ({low} to {high})"


def _labels(number: float, arm: ArmPlan) -> str:
    if number > HORIZON * arm.runs.most:
        return f"beyond {HORIZON * arm.runs.most:,.0f}{_MARK}"
    if number <= arm.curves.fewest:
        return f"<= {arm.curves.fewest:,.0f}"
    return f"{_two_digits(number)}{_MARK if number > arm.runs.most else ''}"


def _two_digits(number: float) -> str:
    """What is not known better is not written down."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def _saving_in_words(arm: ArmPlan) -> str:
    if arm.saving is None:
        return "-"
    factor = arm.saving.factor
    value, low = _two_digits(factor.value), _two_digits(factor.low)
    high = _two_digits(factor.high) if math.isfinite(factor.high) else "any"
    return f"{'>= ' if arm.saving.at_least else ''}{value} ({low} to {high})"


def _score(interval: Interval, digits: int = 2) -> str:
    value, low, high = (f"{end:.{digits}f}" for end in astuple(interval))
    return f"{value} ({low} to {high})"
