"""The label-efficiency curve as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

# draw without a display: servers have none
mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from eocontrast.curve.headline import Compared
from eocontrast.curve.label_curve import ArmCurve
from eocontrast.curve.png import save_png
from eocontrast.evaluation.results import ArmResult

_SUPERVISED = (
    ("#2f4b7c", "o"),
    ("#4f9bc8", "^"),
    ("#7a7a7a", "s"),
    ("#14746f", "D"),
    ("#a08c5b", "v"),
)
"""Colour and marker of supervised arms, in the order of the parameters."""

_METHODS = {
    "dual_simclr": ("#b30059", "#e2559b", "#f0a3c8"),
    "simclr": ("#1b7f4d", "#58b487", "#a6d8bf"),
    "mma": ("#d96b00", "#f2a65a", "#f7cfa3"),
}
_OTHER_METHOD = ("#6a3fb5", "#a186d6", "#cfc1ea")
"""One family of colours per method: fine-tuned, frozen, and without training."""

_INITS = ("o", "P", "X", "h")
"""Markers of the backbones that one method trained, in the order of the parameters."""

_ENSEMBLE = "#222222"


def draw_label_curve(
    curves: Mapping[str, ArmCurve], compared: Mapping[str, Compared], path: Path
) -> None:
    """Draw score over number of labels, one panel per task and one line per arm.

    Bands are the 95 % intervals of the two arms that the headline compares. The intervals of all
    arms are in summary.json.

    Args:
        curves: Curves of the arms, by name.
        compared: Supervised and pretrained arm of each task's headline, if any.
        path: PNG to write.
    """
    tasks = list(dict.fromkeys(curve.result.task for curve in curves.values()))
    figure, panels = plt.subplots(
        len(tasks), 1, figsize=(8.4, 4.6 * len(tasks)), layout="constrained", squeeze=False
    )
    for axes, task in zip(panels[:, 0], tasks, strict=True):
        of_task = {name: curve for name, curve in curves.items() if curve.result.task == task}
        _panel(axes, of_task, compared.get(task, (None, None)))
    save_png(figure, path, dpi=120)


def _panel(axes: Axes, curves: Mapping[str, ArmCurve], compared: Compared) -> None:
    arms = [curve.result for curve in curves.values()]
    looks = {arm.name: _look(arm, arms) for arm in arms}
    # the legend lists arms as the lines end, from the top
    for name, curve in sorted(curves.items(), key=lambda item: -item[1].values[-1]):
        colour, marker, style = looks[name]
        axes.plot(
            curve.n_labels, curve.values, style, marker=marker, ms=5, color=colour, label=name
        )
        if name in compared:
            low, high = zip(*((band.low, band.high) for band in curve.intervals), strict=True)
            axes.fill_between(curve.n_labels, low, high, color=colour, alpha=0.15, linewidth=0)
    if compared[0] is not None:
        _mark(axes, curves[compared[0]])
    some = next(iter(curves.values())).result
    axes.set_title(some.task.replace("_", " "))
    _scale_x(axes, list(curves.values()))
    axes.set_ylabel(f"{some.metric} on test regions")
    axes.grid(alpha=0.3)
    kinds = "dashed: labels alone\ndotted: backbones frozen"
    title = f"{kinds}\nbands: 95 % intervals over\ntest groups and seeds"
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9.5)


def _scale_x(axes: Axes, curves: Sequence[ArmCurve]) -> None:
    """Mark the budgets in patches, and below in polygons or points if the labels are such."""
    ticks = sorted({int(n) for curve in curves for n in curve.n_labels})
    shapes = {
        int(paid): round(shown)
        for curve in curves
        if curve.n_shapes is not None
        for paid, shown in zip(curve.n_labels, curve.n_shapes, strict=True)
    }
    axes.set_xlabel("labelled patches" + ("\n(labelled polygons or points)" if shapes else ""))
    # space budgets by their logarithm, over which curves are nearly straight
    axes.set_xscale("log")
    names = [f"{tick}\n({shapes[tick]})" if tick in shapes else str(tick) for tick in ticks]
    axes.set_xticks(ticks, names)
    axes.minorticks_off()


def _look(arm: ArmResult, arms: Sequence[ArmResult]) -> tuple[str, str, str]:
    """Return colour, marker and line style, which do not depend on the ranks of arms."""
    if arm.supervised:
        alone = [other.name for other in arms if other.supervised]
        colour, marker = _SUPERVISED[alone.index(arm.name) % len(_SUPERVISED)]
        return colour, marker, "--"
    if arm.head == "ensemble":
        return _ENSEMBLE, "*", "-"
    kind = 2 if arm.head == "knn" else int(arm.frozen)
    colour = _METHODS.get(arm.method, _OTHER_METHOD)[kind]
    alike = [other for other in arms if other.method == arm.method and not other.supervised]
    inits = list(dict.fromkeys(other.init for other in alike))
    return colour, _INITS[inits.index(arm.init) % len(_INITS)], ":" if arm.frozen else "-"


def _mark(axes: Axes, baseline: ArmCurve) -> None:
    axes.axhline(baseline.values[-1], color="0.4", linewidth=0.8, linestyle=":")
    axes.annotate(
        f"{baseline.result.name}, all labels: {baseline.values[-1]:.3f}",
        (0.01, baseline.values[-1]),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        color="0.3",
        bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
    )
