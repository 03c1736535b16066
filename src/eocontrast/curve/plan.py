"""How many labels a target needs: what `eocontrast plan` answers, and how far to trust it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from eocontrast.curve.bootstrap import LEVEL, Interval
from eocontrast.curve.plan_arms import ArmRuns, arm_runs
from eocontrast.curve.plan_table import FEWEST_COUNTS, Run, read_runs
from eocontrast.curve.power_law import Array, Curves, fit
from eocontrast.runtime.errors import UserError

HORIZON = 10
"""Times the labels of today that a number is given for; beyond it is only said to be beyond."""

DRAWS = 1000
"""Curves an arm; as many draws of the test groups where their counts are at hand."""

Reach = Literal["measured", "extrapolated", "beyond", "not reachable"]
"""Where the target is reached: among the numbers of labels that were tried, up to `HORIZON` times
the largest of them, beyond that, or nowhere because the top of the curve is below it."""


@dataclass(frozen=True)
class HeldOut:
    """Scores at the largest number of labels, from the smaller ones, and as they are."""

    predicted: Interval
    measured: float

    @property
    def within(self) -> bool:
        """Whether the measured score lies in the predicted interval."""
        return self.predicted.low <= self.measured <= self.predicted.high


@dataclass(frozen=True)
class Saving:
    """Labels that the best supervised arm needs for the target, over those that this one needs.

    `at_least` says that the factor may be larger: the other one gets there beyond the horizon, or
    this one with fewer labels than were tried.
    """

    factor: Interval
    at_least: bool


@dataclass(frozen=True)
class ArmPlan:
    """What one arm needs for the target, and would do with more labels.

    Attributes:
        runs: the trained models.
        curves: that may have made their scores.
        labels: needed for the target; infinite where curves do not reach it.
        reach: where that is.
        today: score with the largest number of labels.
        doubling: what twice that many would add.
        top: score of endless labels.
        saving: against the best supervised arm; none for that arm itself, without one, or where
            this arm's number is not known.
        held_out: test of the extrapolation; none with only three numbers of labels.
    """

    runs: ArmRuns
    curves: Curves
    labels: Interval
    reach: Reach
    today: Interval
    doubling: Interval
    top: Interval
    saving: Saving | None
    held_out: HeldOut | None


@dataclass(frozen=True)
class TaskPlan:
    """The arms of one task, fewest labels first, and the supervised one they are held against."""

    task: str
    metric: str
    target: float
    baseline: str | None
    arms: tuple[ArmPlan, ...]


def plan(
    path: Path, target: float, tasks: Collection[str] = (), arms: Collection[str] = ()
) -> list[TaskPlan]:
    """What every arm of a label curve needs for a target.

    Intervals also resample test groups where `arms/` and `predictions/` lie beside the CSV.

    Args:
        path: of the curve, as `curve_csv.read_runs` reads it.
        target: score to reach, between 0 and 1.
        tasks: to plan for; all of them where none is named.
        arms: likewise.

    Raises:
        UserError: the target is no score, the CSV is wrong, or has no such task or arm.
    """
    if not 0 < target < 1:
        raise UserError(f"a target of {target:g} is no score between 0 and 1: write .75 for 75 %")
    by_task: dict[str, dict[str, list[Run]]] = {}
    for (task, arm), runs in read_runs(path).items():
        by_task.setdefault(task, {})[arm] = runs
    _refuse_unknown(path, "task", tasks, by_task)
    chosen = {task: own for task, own in by_task.items() if not tasks or task in tasks}
    _refuse_unknown(path, "arm", arms, [arm for own in chosen.values() for arm in own])
    plans = [_task_plan(arm_runs(own, path.parent, DRAWS), target, arms) for own in chosen.values()]
    return [made for made in plans if made.arms]


def _refuse_unknown(path: Path, what: str, asked: Collection[str], known: Collection[str]) -> None:
    for name in asked:
        if name not in known:
            raise UserError(f"{path} has no {what} {name!r}; it has {', '.join(known)}")


def _task_plan(runs: Sequence[ArmRuns], target: float, arms: Collection[str]) -> TaskPlan:
    supervised = [own for own in runs if own.supervised]
    baseline = max(supervised, key=lambda own: own.mean_at(own.most), default=None)
    paid = None if baseline is None else draw_curves(baseline).labels_needed(target)
    made = [
        _arm_plan(own, target, None if own is baseline else paid)
        for own in runs
        if not arms or own.name in arms
    ]
    made.sort(key=lambda arm: (arm.reach == "not reachable", arm.labels.value, -arm.today.value))
    name = None if baseline is None else baseline.name
    return TaskPlan(runs[0].task, runs[0].metric, target, name, tuple(made))


def _arm_plan(runs: ArmRuns, target: float, paid: Array | None) -> ArmPlan:
    curves, most = draw_curves(runs), runs.most
    needed = curves.labels_needed(target)
    labels, top = interval(needed), interval(curves.top)
    return ArmPlan(
        runs=runs,
        curves=curves,
        labels=labels,
        reach=_reach(labels, top, most, target),
        today=interval(curves.scores(most)),
        doubling=interval(curves.scores(2 * most) - curves.scores(most)),
        top=top,
        saving=None if paid is None else saving(needed, paid, curves.fewest, HORIZON * most),
        held_out=hold_out(runs),
    )


def draw_curves(runs: ArmRuns) -> Curves:
    """Curves of an arm; the same ones in every call."""
    if runs.resampled is None:
        return fit(runs.n_labels, runs.scores, DRAWS, _rng(runs))
    return fit(runs.n_labels, runs.resampled, 1, _rng(runs))


def _rng(runs: ArmRuns) -> np.random.Generator:
    # by name: two arms draw independently, and the same whichever others are asked for
    return np.random.default_rng([*runs.name.encode()])


def hold_out(runs: ArmRuns) -> HeldOut | None:
    """Predict the scores at the largest number of labels by those at the others.

    The measured mean is of the same test groups, so none are resampled; the interval has room for
    the noise of as many seeds as were measured.
    """
    below = runs.n_labels < runs.most
    if len(np.unique(runs.n_labels[below])) < FEWEST_COUNTS:
        return None
    rng = _rng(runs)
    curves = fit(runs.n_labels[below], runs.scores[below], DRAWS, rng)
    predicted = curves.measured(runs.most, int((~below).sum()), rng)
    return HeldOut(interval(predicted), runs.mean_at(runs.most))


def interval(samples: Array) -> Interval:
    """Median and 95 % interval, each one of the samples, of which some may be infinite."""
    tail = (1 - LEVEL) / 2
    ordered = np.sort(samples)
    low, middle, high = (
        float(ordered[round(share * (len(ordered) - 1))]) for share in (tail, 0.5, 1 - tail)
    )
    return Interval(middle, low, high)


def saving(needed: Array, paid: Array, fewest: float, horizon: float) -> Saving | None:
    """The label-saving factor at a target, or none where this arm's labels are not known.

    Args:
        needed: labels that this arm needs, (D,).
        paid: labels that the best supervised arm needs, (D,).
        fewest: labels that were tried.
        horizon: labels up to which a number is given.
    """
    own, other = interval(needed).value, interval(paid).value
    if own > horizon or own == other == fewest:
        return None
    with np.errstate(invalid="ignore"):
        ratios = paid / needed
    # where neither curve gets there, nothing is known of their ratio
    low, high = (interval(np.where(np.isnan(ratios), end, ratios)) for end in (0, np.inf))
    factor = Interval(min(other, horizon) / own, low.low, high.high)
    return Saving(factor, at_least=other > horizon or own == fewest)


def _reach(labels: Interval, top: Interval, most: float, target: float) -> Reach:
    if top.high < target:
        return "not reachable"
    if labels.value > HORIZON * most:
        return "beyond"
    return "extrapolated" if labels.value > most else "measured"
