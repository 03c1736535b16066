"""Draw test patches beside their ground truth and the maps of segmenters (as P2, figure 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from eocontrast.curve.figure_labels import figure_labels
from eocontrast.curve.png import save_png
from eocontrast.labels import IGNORE_INDEX
from eocontrast.runtime.errors import readable


def draw_maps(numbers: Path, path: Path) -> None:
    """Draw one row per patch: both sensors, the ground truth and a column per model.

    Args:
        numbers: NPZ file of `evaluation.qualitative.write_maps`. If it holds only a note, so does
            the figure.
        path: PNG file to write.

    Raises:
        UserError: `numbers` cannot be read.
    """
    with readable(f"{numbers} cannot be read", "run `dvc repro evaluate_grid`"):
        # refuse pickles, because loading one can run code
        with np.load(numbers, allow_pickle=False) as file:
            content = dict(file)
        figure = _note(str(content["note"])) if content["note"] else _panels(content)
    save_png(figure, path, dpi=130)


def _note(text: str) -> Figure:
    figure = plt.figure(figsize=(6, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=8)
    return figure


def _panels(content: dict[str, Any]) -> Figure:
    palette = [str(colour) for colour in content["palette"]]
    optical, radar = (str(title) for title in content["image_titles"])
    columns: dict[str, NDArray[Any]] = {
        optical: content["optical"],
        radar: content["radar"],
        "ground truth": painted(content["ground_truth"], palette),
    }
    for title, classes in zip(content["columns"], content["maps"], strict=True):
        columns[str(title)] = painted(classes, palette)
    rows = len(content["ids"])
    size = (1.55 * len(columns), 1.62 * rows + 0.6)
    figure, panels = plt.subplots(
        rows, len(columns), figsize=size, layout="constrained", squeeze=False
    )
    for (title, images), column in zip(columns.items(), panels.T, strict=True):
        column[0].set_title(title, fontsize=9)
        for axes, image in zip(column, images, strict=True):
            axes.imshow(image, interpolation="nearest")
            axes.set_axis_off()
    names = figure_labels([str(name) for name in content["classes"]])
    figure.legend(
        handles=[Patch(color=c, label=name) for name, c in zip(names, palette, strict=True)],
        loc="outside lower center",
        ncols=_columns(names, size[0]),
        fontsize=8,
        frameon=False,
    )
    return figure


def _columns(names: list[str], width: float) -> int:
    """Return the largest number of columns of a legend that fits into a width in inches."""
    for count in range(len(names), 1, -1):
        height = -(-len(names) // count)
        longest = (max(map(len, names[k : k + height])) for k in range(0, len(names), height))
        # a letter of 8 points takes 0.07 inches, a patch of colour with its margins 0.5
        if sum(0.5 + 0.07 * letters for letters in longest) <= width:
            return count
    return 1


def painted(classes: NDArray[np.integer], palette: list[str]) -> NDArray[np.float32]:
    """Return class indices (n, H, W) as colours (n, H, W, 3); ignored pixels are white."""
    colours = np.ones((IGNORE_INDEX + 1, 3), dtype=np.float32)
    for number, colour in enumerate(palette):
        colours[number] = to_rgb(colour)
    image: NDArray[np.float32] = colours[classes]
    return image
