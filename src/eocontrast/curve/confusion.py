"""What one class was taken for, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from eocontrast.runtime.files import whole


def draw_confusion(confusion: pd.DataFrame, classes: Sequence[str], path: Path) -> None:
    """Shares of each actual class, a row each, that were said to be each class.

    Args:
        confusion: `actual, predicted, count`, as `Evaluation.confusion`.
        classes: in the order of rows and columns; several that are joined follow.
        path: PNG to write.
    """
    counts = confusion.pivot_table("count", "actual", "predicted", "sum", fill_value=0)
    rows, columns = (_ordered(axis, classes) for axis in (counts.index, counts.columns))
    counts = counts.reindex(index=rows, columns=columns, fill_value=0)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    size = (2.6 + 0.55 * len(columns), 1.9 + 0.45 * len(rows))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*shares.nonzero(), strict=True):
        share = shares[row, column]
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title("share of each actual class", fontsize=9)
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})
    plt.close(figure)


def _ordered(found: pd.Index[str], classes: Sequence[str]) -> list[str]:
    return [*classes, *(name for name in found if name not in classes)]
