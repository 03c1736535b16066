"""Land-cover classes of DFC2020, their palette, and targets from masks and class names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IGNORE_INDEX = 255

MAX_CLASSES = 254
"""Largest number of classes: 255 is `IGNORE_INDEX`, and maps of 8 bits use 0 for no data."""

MIN_SHARE = 0.1
"""Smallest share of a patch that makes a class one of its labels."""

METRICS = {"single_label": "AA", "multi_label": "macro_F1", "segmentation": "mIoU"}
"""The score that arms of a task are compared by."""

IGBP_TO_DFC = np.array([0, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 6, 8, 9, 10], dtype=np.uint8)
"""DFC2020 class of each IGBP value from 0 to 17 (Robinson et al. 2021, table I)."""

DFC_CLASSES: dict[str, int] = {
    "Forest": 1,
    "Shrubland": 2,
    "Grassland": 4,
    "Wetlands": 5,
    "Croplands": 6,
    "Urban/Built-up": 7,
    "Barren": 9,
    "Water": 10,
}
"""Scored classes and their values in DFC masks. Savanna (3), Snow/Ice (8) and 0 are ignored."""

DFC_PALETTE: dict[str, str] = {
    "Forest": "#009900",
    "Shrubland": "#c6b044",
    "Grassland": "#b6ff05",
    "Wetlands": "#27ff87",
    "Croplands": "#c24f44",
    "Urban/Built-up": "#a5a5a5",
    "Barren": "#f9ffa4",
    "Water": "#1c0dff",
}


SEPARATOR = "|"
"""Separator of the class names of one patch."""


def named_classes(label: str, classes: Sequence[str]) -> list[int] | None:
    """Return the indices of the classes in a label, the main one first.

    Args:
        label: one name, or several joined by `|`.
        classes: names by index.

    Returns:
        None if any name is not a class.
    """
    names = label.split(SEPARATOR)
    if not all(name in classes for name in names):
        return None
    # a name that is listed twice counts once
    return [list(classes).index(name) for name in dict.fromkeys(names)]


def mask_targets(mask: NDArray[np.integer], values: tuple[int, ...]) -> NDArray[np.uint8]:
    """Map raster values to class indices, same shape; other values become 255."""
    # a table from -1 to one beyond the largest class; values outside are clipped to its ends
    table = np.full(max(values, default=0) + 3, IGNORE_INDEX, dtype=np.uint8)
    table[np.array(values, dtype=np.intp) + 1] = np.arange(len(values))
    return table.take(mask.astype(np.intp) + 1, mode="clip")


def class_shares(targets: NDArray[np.uint8], num_classes: int) -> NDArray[np.float32]:
    """Return the share of a patch that each class covers, shape (C,).

    Args:
        targets: class indices of one patch, 255 for ignored pixels, which count as area.
        num_classes: number of classes C.
    """
    # ignored pixels are counted at 255 and cut off, but stay in the area
    counts = np.bincount(targets.ravel(), minlength=256)[:num_classes]
    return (counts / targets.size).astype(np.float32)


def single_label(shares: NDArray[np.floating]) -> int:
    """Return the most frequent class of a patch (P1, section 3), or -1 if no pixel has a class."""
    return int(shares.argmax()) if shares.sum() > 0 else -1


def multi_label(shares: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return a mask of the classes that cover at least a tenth of a patch (P1, section 3)."""
    return shares >= np.float32(MIN_SHARE)
