"""The curves of a plan as a figure, with measured scores, extrapolation and target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from eocontrast.curve.plan import HORIZON, ArmPlan, TaskPlan, interval
from eocontrast.curve.plan_report import labels_in_words
from eocontrast.curve.png import save_png
from eocontrast.curve.power_law import Array

_SUPERVISED, _PRETRAINED = "#2f4b7c", "#b30059"
_COLUMNS = 4
_LETTERS = 48
"""Letters of a title that fit the width of a panel."""


def draw_plan(plans: Sequence[TaskPlan], path: Path) -> None:
    """Draw score over number of labels, one panel per arm and one block of rows per task.

    Lines are medians and bands 95 % intervals. Beyond the labels that were tried, up to the horizon
    of the plan, lines are dashed and bands paler. A triangle marks where the target is reached, and
    a bar its interval.
    """
    rows = [-(-len(made.arms) // _COLUMNS) for made in plans]
    columns = min(_COLUMNS, max(len(made.arms) for made in plans))
    figure = plt.figure(figsize=(3.6 * columns, 2.9 * sum(rows) + 0.4), layout="constrained")
    blocks = figure.subfigures(len(plans), 1, squeeze=False, height_ratios=rows)[:, 0]
    for block, made, height in zip(blocks, plans, rows, strict=True):
        block.suptitle(fill(_title(made), _LETTERS * columns), fontsize=10)
        panels = block.subplots(height, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, arm in zip(panels, made.arms, strict=False):
            _panel(axes, arm, made.target)
        for axes in panels[len(made.arms) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(made.arms) - columns) : len(made.arms)]:
            axes.tick_params(labelbottom=True)  # what is below it, if anything, is off
    save_png(figure, path, dpi=110)


def _title(made: TaskPlan) -> str:
    # a table that does not say what arms started from has one colour
    both = any(arm.runs.supervised for arm in made.arms)
    colours = "blue: labels alone, red: pretrained; " if both else ""
    return (
        f"{made.task.replace('_', ' ')}: {made.metric} over labelled patches; {colours}"
        f"dotted: {made.target:g}; dashed and *: extrapolated"
    )


def _panel(axes: Axes, arm: ArmPlan, target: float) -> None:
    colour = _SUPERVISED if arm.runs.supervised else _PRETRAINED
    most, fewest = arm.runs.most, arm.curves.fewest
    # even steps on a logarithmic axis
    _lines(axes, arm, np.geomspace(fewest, most, 40), colour, "-", 0.2)
    _lines(axes, arm, np.geomspace(most, HORIZON * most, 40), colour, "--", 0.08)
    axes.plot(arm.runs.n_labels, arm.runs.scores, "o", ms=3, color=colour, alpha=0.6)
    axes.axhline(target, color="0.4", linewidth=0.8, linestyle=":")
    low, high = (
        min(end, HORIZON * most) for end in (arm.labels_needed.low, arm.labels_needed.high)
    )
    if low < high:
        axes.plot([low, high], [target, target], linewidth=2.5, color="black", alpha=0.5)
    if arm.reach in ("measured", "extrapolated"):
        axes.plot([arm.labels_needed.value], [target], "v", ms=7, color="black")
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title(f"{arm.runs.name}\n{labels_in_words(arm)}", fontsize=8)
    axes.tick_params(labelsize=8)


def _lines(
    axes: Axes, arm: ArmPlan, n_labels: Array, colour: str, style: str, alpha: float
) -> None:
    bands = [interval(arm.curves.scores(n)) for n in n_labels]
    axes.plot(n_labels, [band.value for band in bands], style, color=colour, linewidth=1.5)
    low, high = [band.low for band in bands], [band.high for band in bands]
    axes.fill_between(n_labels, low, high, color=colour, alpha=alpha, linewidth=0)
