"""The label-efficiency curve: one tidy table, one headline, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eocontrast.bootstrap import Interval, Resampling
from eocontrast.errors import UserError
from eocontrast.label_saving import label_saving_factor

COLUMNS = ("task", "arm", "init", "inputs", "fraction", "n_labels", "seed", "metric", "value")


@dataclass(frozen=True)
class ArmResult:
    """What `evaluate` left of one arm.

    Attributes:
        supervised: whether the arm uses labels alone.
        points: one row a point: `fraction, seed, n_labels` and a column a score.
        predictions: one row a test patch and point: `fraction, seed, group, label, prediction`.
        left_out: fractions too small for the classes, and why.
    """

    name: str
    task: str
    init: str
    inputs: str
    supervised: bool
    classes: tuple[str, ...]
    points: pd.DataFrame
    predictions: pd.DataFrame
    left_out: dict[str, str]


@dataclass(frozen=True)
class ArmCurve:
    """AA of one arm at every fraction: estimate, interval and bootstrap samples."""

    result: ArmResult
    fractions: tuple[float, ...]
    n_labels: NDArray[np.float64]
    intervals: tuple[Interval, ...]
    samples: NDArray[np.float64]
    """(fractions, B)."""

    @property
    def values(self) -> NDArray[np.float64]:
        """The estimates, (fractions,)."""
        return np.array([interval.value for interval in self.intervals])


def tidy(arms: Mapping[str, ArmResult]) -> pd.DataFrame:
    """All scores of all points in the columns of `COLUMNS`."""
    tables = []
    for arm in arms.values():
        points = arm.points.assign(task=arm.task, arm=arm.name, init=arm.init, inputs=arm.inputs)
        keys = [column for column in COLUMNS if column not in ("metric", "value")]
        tables.append(points.melt(id_vars=keys, var_name="metric", value_name="value"))
    return pd.concat(tables)[list(COLUMNS)].reset_index(drop=True)


def arm_curves(
    arms: Mapping[str, ArmResult], seeds: tuple[int, ...], samples: int
) -> dict[str, ArmCurve]:
    """The curve of every arm, all resampled alike.

    Raises:
        UserError: no arm has a point.
    """
    some = next((arm for arm in arms.values() if len(arm.points)), None)
    if some is None:
        raise UserError("no arm has a point: every fraction is too small for the classes")
    resampling = Resampling(some.predictions["group"].to_numpy(dtype=object), seeds, samples)
    return {name: _curve(arm, resampling) for name, arm in arms.items() if len(arm.points)}


def _curve(arm: ArmResult, resampling: Resampling) -> ArmCurve:
    fractions = tuple(sorted(arm.points["fraction"].unique()))
    n_labels, intervals, samples = [], [], []
    for fraction in fractions:
        here = arm.predictions[arm.predictions["fraction"] == fraction]
        value, replicates = resampling.average_accuracy(here, len(arm.classes))
        n_labels.append(arm.points.loc[arm.points["fraction"] == fraction, "n_labels"].mean())
        intervals.append(Interval.of(value, replicates))
        samples.append(replicates)
    return ArmCurve(arm, fractions, np.array(n_labels), tuple(intervals), np.stack(samples))


def best_supervised(curves: Mapping[str, ArmCurve]) -> ArmCurve | None:
    """The arm with labels alone that scores best at its largest fraction."""
    candidates = [curve for curve in curves.values() if curve.result.supervised]
    return max(candidates, key=lambda curve: curve.values[-1], default=None)


def saving(curve: ArmCurve, baseline: ArmCurve) -> dict[str, Any]:
    """Label-saving factor of a pretrained arm with its interval.

    `at_least` says that the arm reaches the target with its fewest labels, so the factor may be
    larger; a factor of 0 says that it does not reach it at all.
    """
    paid, target = baseline.n_labels[-1], baseline.values[-1]
    factor = label_saving_factor(curve.n_labels, curve.values, target, paid)
    replicates = [
        label_saving_factor(curve.n_labels, scores, goal, paid)
        for scores, goal in zip(curve.samples.T, baseline.samples[-1], strict=True)
    ]
    interval = Interval.of(factor, np.array(replicates))
    at_least = bool(curve.values[0] >= target)
    return {**_rounded(interval), "at_least": at_least}


def paired_difference(curve: ArmCurve, baseline: ArmCurve) -> list[dict[str, Any]]:
    """AA minus that of the supervised arm at all labels, by fraction, with paired intervals."""
    rows = []
    for fraction, value, samples in zip(curve.fractions, curve.values, curve.samples, strict=True):
        gap = value - baseline.values[-1]
        interval = Interval.of(float(gap), samples - baseline.samples[-1])
        rows.append({"fraction": fraction, **_rounded(interval)})
    return rows


def summarise(curves: Mapping[str, ArmCurve]) -> dict[str, Any]:
    """By task: the best supervised arm, and what each pretrained arm makes of fewer labels."""
    summary: dict[str, Any] = {}
    for task in sorted({curve.result.task for curve in curves.values()}):
        mine = {name: c for name, c in curves.items() if c.result.task == task}
        baseline = best_supervised(mine)
        pretrained = {name: c for name, c in mine.items() if not c.result.supervised}
        some = next(iter(mine.values()))
        summary[task] = {
            "metric": "AA",
            "test_groups": int(some.result.predictions["group"].nunique()),
            "left_out": some.result.left_out,
            "best_supervised": baseline and {"arm": baseline.result.name, **_points(baseline)[-1]},
            "supervised": {n: _points(c) for n, c in mine.items() if c.result.supervised},
            "pretrained": {name: _points(curve) for name, curve in pretrained.items()},
        }
        if baseline is not None:
            summary[task]["difference_to_best_supervised"] = {
                name: paired_difference(curve, baseline) for name, curve in pretrained.items()
            }
            summary[task]["label_saving_factor"] = {
                name: saving(curve, baseline) for name, curve in pretrained.items()
            }
    return summary


def per_class(arms: Mapping[str, ArmResult]) -> pd.DataFrame:
    """Recall by arm, fraction and class, mean and sd over seeds; NaN for a class not tested."""
    tables = []
    for arm in arms.values():
        if len(arm.predictions) == 0:
            continue
        hit = arm.predictions.assign(
            recall=arm.predictions["label"] == arm.predictions["prediction"]
        )
        by_seed = hit.groupby(["fraction", "seed", "label"])["recall"].mean().unstack("label")
        by_seed = by_seed.reindex(columns=range(len(arm.classes)))
        long = by_seed.rename(columns=dict(enumerate(arm.classes))).stack(future_stack=True)
        stats = long.groupby(level=[0, 2]).agg(["mean", "std"]).round(4).reset_index()
        stats.columns = pd.Index(["fraction", "class", "recall", "sd_over_seeds"])
        stats.insert(0, "arm", arm.name)
        tables.append(stats)
    return pd.concat(tables).reset_index(drop=True)


def plot_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """AA of every point, for `dvc plots`."""
    scores = table[table["metric"] == "AA"].rename(columns={"value": "AA"})
    columns = ["arm", "fraction", "n_labels", "seed", "AA"]
    return [dict(zip(columns, row, strict=True)) for row in scores[columns].values.tolist()]


def _points(curve: ArmCurve) -> list[dict[str, Any]]:
    return [
        {"fraction": fraction, "n_labels": int(n), **_rounded(interval)}
        for fraction, n, interval in zip(
            curve.fractions, curve.n_labels, curve.intervals, strict=True
        )
    ]


def _rounded(interval: Interval) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(interval).items()}
