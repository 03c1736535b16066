"""Figures of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from eocontrast.label_curve import ArmCurve, best_supervised

_STYLES = {True: "--", False: "-"}
"""Dashed lines are arms that use labels alone."""


def draw_label_curve(curves: Mapping[str, ArmCurve], path: Path) -> None:
    """AA over the number of labels, one line an arm with its 95 % band."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    colours = plt.get_cmap("tab10")
    for number, (name, curve) in enumerate(curves.items()):
        low = [interval.low for interval in curve.intervals]
        high = [interval.high for interval in curve.intervals]
        colour = colours(number % 10)
        style = _STYLES[curve.result.supervised]
        axes.plot(curve.n_labels, curve.values, style, marker="o", color=colour, label=name)
        axes.fill_between(curve.n_labels, low, high, color=colour, alpha=0.1, linewidth=0)
    baseline = best_supervised(curves)
    if baseline is not None:
        axes.axhline(baseline.values[-1], color="0.4", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"best supervised, all labels: {baseline.values[-1]:.3f}",
            (1, baseline.values[-1]),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color="0.3",
        )
    ticks = sorted({int(n) for curve in curves.values() for n in curve.n_labels})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labelled patches")
    axes.set_ylabel("average accuracy on test regions (AA)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, title="dashed: labels alone", title_fontsize=8)
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
