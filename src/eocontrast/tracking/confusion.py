"""The confusion matrix of a fine-tuned model as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.metrics import ConfusionMatrixDisplay

from eocontrast.curve.figure_labels import figure_labels
from eocontrast.curve.png import save_png


def draw_confusion(confusion: pd.DataFrame, classes: Sequence[str], path: Path) -> None:
    """Draw the share of each actual class (a row) that was predicted as each class.

    Args:
        confusion: `actual, predicted, count`, as `Evaluation.confusion` returns it.
        classes: order of rows and columns; combinations of several labels follow.
        path: PNG to write.
    """
    names = dict.fromkeys((*classes, *confusion["actual"], *confusion["predicted"]))
    counts = confusion.pivot_table("count", "actual", "predicted", "sum", fill_value=0)
    counts = counts.reindex(index=list(names), columns=list(names), fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    side = 2.6 + 0.6 * len(names)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    display = ConfusionMatrixDisplay(shares, display_labels=figure_labels(list(names)))
    limits = {"vmin": 0, "vmax": 1}
    display.plot(
        ax=axes, cmap="Blues", values_format=".2f", xticks_rotation=40, colorbar=False, im_kw=limits
    )
    # a long name ends at its column
    plt.setp(axes.get_xticklabels(), ha="right", rotation_mode="anchor")
    axes.set(xlabel="predicted", ylabel="actual", title="share of each actual class")
    save_png(figure, path, dpi=110)
