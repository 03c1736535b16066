"""A plan as a table per task, or as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from eocontrast.curve.bootstrap import Interval
from eocontrast.curve.plan import HORIZON, ArmPlan, TaskPlan

_NOTE = f"""\
* extrapolated: more labels than were tried; no number is given beyond {HORIZON} times as many
today: the fitted curve at the most labels that were tried
held out: the score measured there, predicted from the scores with fewer labels"""


def plan_tables(plans: Sequence[TaskPlan]) -> str:
    """Write a table per task, and what its marks mean."""
    return "\n\n".join([*map(_table, plans), _NOTE])


def plan_entries(plans: Sequence[TaskPlan]) -> list[dict[str, Any]]:
    """Return the plan for JSON, by task and arm; numbers of labels beyond the horizon are null."""
    return [{**vars(made), "arms": [_entry(arm) for arm in made.arms]} for made in plans]


def _entry(arm: ArmPlan) -> dict[str, Any]:
    answers = {**vars(arm)}
    runs, _ = answers.pop("runs"), answers.pop("curves")
    return {
        "arm": runs.name,
        "supervised": runs.supervised,
        "n_labels": sorted({*runs.n_labels.tolist()}),
        "resampled": ["seeds", "test groups"] if runs.groups else ["seeds"],
        "test_groups": runs.groups,
        **{key: _plain(answer) for key, answer in answers.items()},
    }


def _plain(value: object) -> object:
    if isinstance(value, Interval):
        return {key: _plain(number) for key, number in vars(value).items()}
    if isinstance(value, float):  # JSON has no infinity
        return round(value, 4) if math.isfinite(value) else None
    return value


def _table(made: TaskPlan) -> str:
    groups, best = made.arms[0].runs.groups, made.best_supervised
    source = f"seeds and {groups} test groups" if groups else "seeds alone"
    head = ["arm", f"labels for {made.target:g}", f"saves over {best}" if best else "saves"]
    head += [f"{made.metric} today", "twice as many add*", "held out: predicted", "measured"]
    title = f"{made.task}: labels for {made.metric} {made.target:g} (95 % intervals, {source})"
    table = pd.DataFrame([*map(_row, made.arms)], columns=head)
    return (
        f"{title}\n{table.to_markdown(None, index=False, tablefmt='plain', disable_numparse=True)}"
    )


def _row(arm: ArmPlan) -> list[str]:
    factor, test = arm.label_saving_factor, arm.held_out
    row = [arm.runs.name, labels_in_words(arm), "-"]
    if factor:
        value, low, high = map(_two_digits, (factor.value, factor.low, factor.high))
        row[-1] = f"{'>= ' if factor.at_least else ''}{value} ({low} to {high})"
    row += [_score(arm.score_today), _score(arm.doubling_adds, 3)]
    if test is None:
        return [*row, "-", "-"]
    return [*row, _score(test), f"{test.measured:.2f}{'' if test.within else ' (outside)'}"]


def labels_in_words(arm: ArmPlan) -> str:
    """Write the labels that the target needs, with their interval, as far as they are known."""
    if arm.reach == "not reachable":
        return f"not reachable (top {_score(arm.top)})"
    value, low, high = (_labels(number, arm) for number in vars(arm.labels_needed).values())
    return low if low.startswith("beyond") else f"{value} ({low} to {high})"


def _labels(number: float, arm: ArmPlan) -> str:
    if number > HORIZON * arm.runs.most:
        return f"beyond {HORIZON * arm.runs.most:,.0f}*"
    if number <= arm.curves.fewest:
        return f"<= {arm.curves.fewest:,.0f}"
    return f"{_two_digits(number)}{'*' if number > arm.runs.most else ''}"


def _two_digits(number: float) -> str:
    if not math.isfinite(number):
        return "any"
    # more digits are not known
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def _score(interval: Interval, digits: int = 2) -> str:
    low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
    return f"{interval.value:.{digits}f} ({low} to {high})"
