"""The label-efficiency curve as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from eocontrast.label_curve import ArmCurve, ArmResult, best_supervised

_SUPERVISED = ("#2f4b7c", "#6f8fbf", "#9db7d5", "#7a7a7a", "#b0b0b0")
_METHODS = {
    "dual_simclr": ("#b30059", "#e2559b", "#f0a3c8"),
    "simclr": ("#1b7f4d", "#58b487", "#a6d8bf"),
    "mma": ("#d96b00", "#f2a65a", "#f7cfa3"),
    "imported": ("#6a3fb5", "#a186d6", "#cfc1ea"),
}
"""One colour family a method, so that two arms of one method look alike."""


def draw_label_curve(curves: Mapping[str, ArmCurve], path: Path) -> None:
    """Score over the number of labels, a panel a task, a line an arm.

    Bands are the 95 % intervals of the best supervised and the best pretrained arm; those of all
    arms stand in summary.json.
    """
    tasks = list(dict.fromkeys(curve.result.task for curve in curves.values()))
    figure, panels = plt.subplots(
        1, len(tasks), figsize=(8.5 * len(tasks), 5.2), layout="constrained", squeeze=False
    )
    for axes, task in zip(panels[0], tasks, strict=True):
        _panel(axes, {name: c for name, c in curves.items() if c.result.task == task})
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _panel(axes: Axes, curves: Mapping[str, ArmCurve]) -> None:
    baseline = best_supervised(curves)
    pretrained = [curve for curve in curves.values() if not curve.result.supervised]
    best = max(pretrained, key=lambda curve: curve.values.mean(), default=None)
    used: dict[str, int] = {}
    # the legend lists arms as the lines end, from the top
    for name, curve in sorted(curves.items(), key=lambda item: -item[1].values[-1]):
        colour, style = _look(curve.result, used)
        axes.plot(curve.n_labels, curve.values, style, marker="o", ms=4, color=colour, label=name)
        if curve is baseline or curve is best:
            low, high = zip(*((band.low, band.high) for band in curve.intervals), strict=True)
            axes.fill_between(curve.n_labels, low, high, color=colour, alpha=0.15, linewidth=0)
    if baseline is not None:
        _mark(axes, baseline)
    some = next(iter(curves.values())).result
    ticks = sorted({int(n) for curve in curves.values() for n in curve.n_labels})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_title(some.task.replace("_", " "))
    axes.set_xlabel("labelled patches")
    axes.set_ylabel(f"{some.metric} on test regions")
    axes.grid(alpha=0.3)
    title = "dashed: labels alone\ndotted: backbones frozen"
    axes.legend(
        fontsize=8, title=title, title_fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1)
    )


def _look(arm: ArmResult, used: dict[str, int]) -> tuple[str, str]:
    """Colour and line style; `used` counts the arms of each method."""
    family = _SUPERVISED if arm.supervised else _METHODS[arm.method]
    key = "random" if arm.supervised else arm.method
    number = used.setdefault(key, 0)
    used[key] += 1
    style = "--" if arm.supervised else ":" if arm.frozen else "-"
    return family[number % len(family)], style


def _mark(axes: Axes, baseline: ArmCurve) -> None:
    axes.axhline(baseline.values[-1], color="0.4", linewidth=0.8, linestyle=":")
    axes.annotate(
        f"best from labels alone, all labels: {baseline.values[-1]:.3f}",
        (0, baseline.values[-1]),
        xycoords=("axes fraction", "data"),
        xytext=(4, 3),
        textcoords="offset points",
        fontsize=8,
        color="0.3",
    )
