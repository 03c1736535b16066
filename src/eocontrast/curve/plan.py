"""Labels that a target score needs, as `eocontrast plan` estimates them, and a test of that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from eocontrast.curve.bootstrap import LEVEL, Interval
from eocontrast.curve.plan_arms import FEWEST_COUNTS, ArmRuns, read_arms
from eocontrast.curve.power_law import Array, Curves, fit
from eocontrast.runtime.errors import UserError

HORIZON = 10
"""Times the labels of today up to which a number is given."""

DRAWS = 1000
"""Curves per arm, and draws of the test groups."""

Reach = Literal["measured", "extrapolated", "beyond", "not reachable"]
"""The labels that reach a target: among the numbers that were tried, up to `HORIZON` times the
largest of them, beyond that, or none because the top of the curve is below it."""


@dataclass(frozen=True)
class HeldOut(Interval):
    """Score at the largest number of labels, predicted from the smaller ones, and as measured."""

    measured: float
    within: bool


@dataclass(frozen=True)
class Saving(Interval):
    """Labels that the best supervised arm needs for a target, over those that another arm needs.

    `at_least` marks a lower bound: the supervised arm gets there beyond the horizon, or the other
    arm with fewer labels than were tried.
    """

    at_least: bool


@dataclass(frozen=True)
class ArmPlan:
    """Labels that one arm needs for the target, and its score with more labels.

    Attributes:
        runs: The trained models.
        curves: Curves that may have made their scores.
        reach: Where the target is reached.
        labels_needed: Labels needed for the target; infinite beyond the horizon.
        label_saving_factor: Against the best supervised arm; None for that arm itself, without one,
            or if the labels of this arm are unknown.
        score_today: Score with the largest number of labels.
        doubling_adds: Gain from twice as many.
        top: Score of endless labels.
        held_out: Test of the extrapolation; None with only three numbers of labels.
    """

    runs: ArmRuns
    curves: Curves
    reach: Reach
    labels_needed: Interval
    label_saving_factor: Saving | None
    score_today: Interval
    doubling_adds: Interval
    top: Interval
    held_out: HeldOut | None


@dataclass(frozen=True)
class TaskPlan:
    """The arms of one task, fewest labels first, and the best supervised arm."""

    task: str
    metric: str
    target: float
    best_supervised: str | None
    arms: tuple[ArmPlan, ...]


def plan(
    path: Path, target: float, tasks: Collection[str] = (), arms: Collection[str] = ()
) -> list[TaskPlan]:
    """Estimate the labels that every arm of a label curve needs for a target.

    Args:
        path: CSV of the curve, as `plan_arms.read_arms` reads it.
        target: Score to reach, between 0 and 1.
        tasks: Tasks to plan for, all by default.
        arms: Arms to plan for, all by default.

    Raises:
        UserError: The target is no score, the CSV is wrong, or has no such task or arm.
    """
    if not 0 < target < 1:
        raise UserError(f"a target of {target:g} is no score between 0 and 1: write 0.75 for 75 %")
    by_task = read_arms(path, DRAWS)
    _refuse_unknown(path, "task", tasks, by_task)
    chosen = [runs for task, runs in by_task.items() if not tasks or task in tasks]
    _refuse_unknown(path, "arm", arms, [own.name for runs in chosen for own in runs])
    plans = [_task_plan(runs, target, arms) for runs in chosen]
    return [made for made in plans if made.arms]


def _refuse_unknown(path: Path, what: str, asked: Collection[str], known: Collection[str]) -> None:
    for name in asked:
        if name not in known:
            raise UserError(f"{path} has no {what} {name!r}; it has {', '.join(known)}")


def _task_plan(runs: Sequence[ArmRuns], target: float, arms: Collection[str]) -> TaskPlan:
    supervised = [own for own in runs if own.supervised]
    # by all labels, as in the headline
    best = max(supervised, key=lambda own: own.mean_at(own.most), default=None)
    paid = None if best is None else draw_curves(best).labels_needed(target)
    made = [
        _arm_plan(own, target, None if own is best else paid)
        for own in runs
        if not arms or own.name in arms
    ]
    made.sort(key=lambda arm: (arm.labels_needed.value, -arm.top.high, -arm.score_today.value))
    name = best.name if best else None
    return TaskPlan(runs[0].task, runs[0].metric, target, name, tuple(made))


def _arm_plan(runs: ArmRuns, target: float, paid: Array | None) -> ArmPlan:
    curves, most = draw_curves(runs), runs.most
    horizon, needed, top = HORIZON * most, curves.labels_needed(target), interval(curves.top)
    # beyond the horizon a number would be a guess
    labels = interval(np.where(needed > horizon, np.inf, needed))
    reach: Reach = "measured" if labels.value <= most else "extrapolated"
    if labels.value > horizon:
        # never only if even the upper end of the top's interval lies below the target
        reach = "beyond" if top.high >= target else "not reachable"
    return ArmPlan(
        runs=runs,
        curves=curves,
        reach=reach,
        labels_needed=labels,
        label_saving_factor=None if paid is None else saving(needed, paid, curves.fewest, horizon),
        score_today=interval(curves.scores(most)),
        doubling_adds=interval(curves.scores(2 * most) - curves.scores(most)),
        top=top,
        held_out=hold_out(runs),
    )


def draw_curves(runs: ArmRuns) -> Curves:
    """Draw the curves of an arm, the same ones in every call."""
    scores, draws = (runs.scores, DRAWS) if runs.resampled is None else (runs.resampled, 1)
    return fit(runs.n_labels, scores, draws, _rng(runs))


def _rng(runs: ArmRuns) -> np.random.Generator:
    # by name: two arms draw independently, whichever others the user asks for
    return np.random.default_rng([*runs.name.encode()])


def hold_out(runs: ArmRuns) -> HeldOut | None:
    """Predict the scores at the largest number of labels from those at the others.

    The measured mean is of the same test groups, so none are resampled. The interval has room for
    the noise of as many seeds as were measured.
    """
    below = runs.n_labels < runs.most
    if len(np.unique(runs.n_labels[below])) < FEWEST_COUNTS:
        return None
    rng = _rng(runs)
    curves = fit(runs.n_labels[below], runs.scores[below], DRAWS, rng)
    predicted = interval(curves.measured(runs.most, int((~below).sum()), rng))
    measured = runs.mean_at(runs.most)
    within = predicted.low <= measured <= predicted.high
    return HeldOut(**vars(predicted), measured=measured, within=within)


def interval(samples: Array) -> Interval:
    """Return median and 95 % interval, each one of the samples, some of which may be infinite."""
    tail = (1 - LEVEL) / 2
    # take samples as they are: between a number and infinity there is nothing to interpolate
    places = [round(share * (len(samples) - 1)) for share in (0.5, tail, 1 - tail)]
    return Interval(*np.sort(samples)[places].tolist())


def saving(needed: Array, paid: Array, fewest: float, horizon: float) -> Saving | None:
    """Return the label-saving factor at a target, or None if this arm's labels are unknown.

    Args:
        needed: Labels that this arm needs, (D,).
        paid: Labels that the best supervised arm needs, (D,).
        fewest: Fewest labels that were tried.
        horizon: Labels up to which a number is given.
    """
    own, other = interval(needed).value, interval(paid).value
    if own > horizon or own == other == fewest:
        return None
    with np.errstate(invalid="ignore"):
        ratios = paid / needed
    # if neither curve gets there, their ratio is unknown
    low, high = (interval(np.where(np.isnan(ratios), end, ratios)) for end in (0, np.inf))
    at_least = other > horizon or own == fewest
    return Saving(min(other, horizon) / own, low.low, high.high, at_least)
