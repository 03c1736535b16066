"""Figures as files."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from eocontrast.runtime.files import whole


def save_png(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as PNG and close it; equal figures give equal bytes."""
    with whole(path) as partial:
        # without matplotlib's version, which another one would write differently
        figure.savefig(partial, format="png", dpi=dpi, metadata={"Software": None})
    plt.close(figure)
