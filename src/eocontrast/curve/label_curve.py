"""The label-efficiency curve: scores over numbers of labels, with intervals, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.config.arms import TaskKind
from eocontrast.config.headline import AUTO, AUTOMATIC, HeadlineParams, kind_of
from eocontrast.curve.bootstrap import Interval, Resampling
from eocontrast.curve.label_saving import label_saving_factor
from eocontrast.curve.tables import SHAPES
from eocontrast.evaluation.results import ArmResult
from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class ArmCurve:
    """Score of one arm at every fraction: estimate, interval and bootstrap samples."""

    result: ArmResult
    fractions: tuple[float, ...]
    n_labels: NDArray[np.float64]
    intervals: tuple[Interval, ...]
    samples: NDArray[np.float64]
    """(fractions, B)."""
    n_shapes: NDArray[np.float64] | None = None
    """Labelled polygons or points, (fractions,); None if labels are others."""

    @property
    def values(self) -> NDArray[np.float64]:
        """The estimates, (fractions,)."""
        return np.array([interval.value for interval in self.intervals])


def arm_curves(arms: Mapping[str, ArmResult], samples: int) -> dict[str, ArmCurve]:
    """Return the curve of every arm, all on the same bootstrap draws.

    Raises:
        UserError: No arm has a point.
    """
    if not arms:
        raise UserError("no arm has a point: every fraction is too small for the classes")
    groups = sorted({group for arm in arms.values() for group in arm.groups})
    seeds = max(len(arm.seeds(fraction)) for arm in arms.values() for fraction in arm.fractions)
    # the largest number: an arm with fewer uses the first of the draws
    pretrainings = max(len(set(arm.origins.values())) for arm in arms.values())
    resampling = Resampling(len(groups), seeds, samples, pretrainings)
    return {name: _curve(arm, groups, pretrainings, resampling) for name, arm in arms.items()}


def _curve(
    arm: ArmResult, groups: list[str], pretrainings: int, resampling: Resampling
) -> ArmCurve:
    at = np.searchsorted(groups, arm.groups)  # a group without a scored pixel is in no table
    one = len(set(arm.origins.values())) == 1
    intervals, samples = [], []
    for fraction in arm.fractions:
        seeds = arm.seeds(fraction)
        # without several pretrainings, seeds are drawn as the other arms' are: they share labels
        origins = [seed % pretrainings if one else arm.origins[seed] for seed in seeds]
        tallies = np.zeros((len(seeds), len(groups), len(arm.classes), 4))
        tallies[:, at] = np.stack([arm.tallies[fraction, seed] for seed in seeds])
        value, replicates = resampling.score(tallies, arm.metric, arm.exclusive, origins)
        # all replicates would be equal, and an interval without width would look certain
        if arm.no_interval:
            replicates = np.full_like(replicates, np.nan)
        intervals.append(Interval.of(value, replicates))
        samples.append(replicates)
    means = arm.points.groupby("fraction").mean(numeric_only=True).loc[[*arm.fractions]]
    n_shapes = means[SHAPES].to_numpy() if SHAPES in means else None
    paid = means["n_labels"].to_numpy()
    return ArmCurve(arm, arm.fractions, paid, tuple(intervals), np.stack(samples), n_shapes)


def best_supervised(curves: Mapping[str, ArmCurve], chosen: str = AUTO) -> ArmCurve | None:
    """Return the supervised arm to compare with, if there is one.

    Args:
        curves: Curves of one task.
        chosen: Its name; `auto` takes the best score at the largest fraction.
    """
    if chosen != AUTO:
        return curves.get(chosen)
    candidates = [curve for curve in curves.values() if curve.result.supervised]
    # by all labels: the baseline is the best that labels alone can do
    return max(candidates, key=lambda curve: curve.values[-1], default=None)


def saving(curve: ArmCurve, baseline: ArmCurve) -> dict[str, Any]:
    """Return the label-saving factor of a pretrained arm with its interval.

    `at_least` marks an arm that reaches the target with its fewest labels, so the factor may be
    larger. A factor of 0 means that the arm does not reach it.
    """
    # what the baseline reaches with all labels, which it has to pay for
    paid, target = baseline.n_labels[-1], baseline.values[-1]
    factor = label_saving_factor(curve.n_labels, curve.values, target, paid)
    replicates = [
        label_saving_factor(curve.n_labels, scores, goal, paid)
        for scores, goal in zip(curve.samples.T, baseline.samples[-1], strict=True)
    ]
    interval = Interval.of(factor, np.array(replicates))
    at_least = bool(curve.values[0] >= target)
    return {**_rounded(interval), "at_least": at_least}


def paired_difference(
    curve: ArmCurve, baseline: ArmCurve, same_labels: bool
) -> list[dict[str, Any]]:
    """Subtract the score of the supervised arm at every fraction, with paired intervals.

    Args:
        curve: Curve of the pretrained arm.
        baseline: Curve of the supervised arm.
        same_labels: Whether to compare at the same fraction of the labels instead of all of them.
    """
    rows = []
    for number, fraction in enumerate(curve.fractions):
        other = number if same_labels else -1
        gap = curve.values[number] - baseline.values[other]
        # replicate by replicate: both arms were scored on the same draws, so what they share
        # cancels
        interval = Interval.of(float(gap), curve.samples[number] - baseline.samples[other])
        rows.append({"fraction": fraction, **_rounded(interval)})
    return rows


def summarise(
    curves: Mapping[str, ArmCurve], headlines: Mapping[TaskKind, HeadlineParams] | None = None
) -> dict[str, Any]:
    """Compare by task every pretrained arm with the best supervised one.

    Args:
        curves: Curves of all arms.
        headlines: Arms of the headline by kind of task; without it, the best by their scores.
    """
    tasks = dict.fromkeys(curve.result.task for curve in curves.values())
    return {
        task: _summary(
            {name: c for name, c in curves.items() if c.result.task == task},
            (headlines or {}).get(kind_of(task), AUTOMATIC),
        )
        for task in tasks
    }


def _summary(curves: Mapping[str, ArmCurve], chosen: HeadlineParams) -> dict[str, Any]:
    some = next(iter(curves.values())).result
    supervised = {name: c for name, c in curves.items() if c.result.supervised}
    pretrained = {name: c for name, c in curves.items() if not c.result.supervised}
    baseline = best_supervised(curves, chosen.supervised)
    summary: dict[str, Any] = {
        "metric": some.metric,
        "test_groups": len(some.groups),
        "left_out": some.left_out,
        "no_interval": list(some.no_interval),
        "chosen": chosen.model_dump(),
        "best_supervised": baseline and {"arm": baseline.result.name, **_points(baseline)[-1]},
        "supervised": {name: _points(curve) for name, curve in supervised.items()},
        "pretrained": {name: _points(curve) for name, curve in pretrained.items()},
        "one_sensor_missing": {
            name: missing for name, c in curves.items() if (missing := _missing(c.result))
        },
    }
    if baseline is None:
        return summary
    return summary | {
        "difference_to_best_supervised": {
            name: paired_difference(c, baseline, same_labels=False)
            for name, c in pretrained.items()
        },
        "difference_at_same_labels": {
            name: paired_difference(c, baseline, same_labels=True) for name, c in pretrained.items()
        },
        "label_saving_factor": {name: saving(c, baseline) for name, c in pretrained.items()},
    }


def _missing(arm: ArmResult) -> dict[str, list[dict[str, Any]]]:
    """Return mean scores over seeds with one sensor alone, for an arm that takes both."""
    # the same models, scored again with one of the images missing
    alone = arm.points[arm.points["inputs"] != arm.inputs]
    means = alone.groupby(["inputs", "fraction"])[arm.metric].mean().round(4).reset_index()
    return {
        str(inputs): [
            {"fraction": fraction, "value": value}
            for fraction, value in rows[["fraction", arm.metric]].values.tolist()
        ]
        for inputs, rows in means.groupby("inputs")
    }


def _points(curve: ArmCurve) -> list[dict[str, Any]]:
    return [
        {"fraction": fraction, "n_labels": int(n), **_rounded(interval)}
        for fraction, n, interval in zip(
            curve.fractions, curve.n_labels, curve.intervals, strict=True
        )
    ]


def _rounded(interval: Interval) -> dict[str, float | None]:
    # JSON knows no NaN
    ends = asdict(interval).items()
    return {name: None if np.isnan(value) else round(value, 4) for name, value in ends}
