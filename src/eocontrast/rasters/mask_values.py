"""Values in masks that no class names, and the products that they may come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

_CORINE = {
    *range(111, 113), *range(121, 125), *range(131, 134), 141, 142, *range(211, 214),
    *range(221, 224), 231, *range(241, 245), *range(311, 314), *range(321, 325),
    *range(331, 336), 411, 412, *range(421, 424), 511, 512, *range(521, 524),
}  # fmt: skip
# follow the products' legends: WorldCover counts in tens, and 95 is mangroves
PRODUCTS: dict[str, frozenset[int]] = {
    "ESA WorldCover": frozenset({*range(10, 101, 10), 95}),
    "CORINE Land Cover": frozenset(_CORINE),
    "a binary mask of 0 and 255": frozenset({0, 255}),
    "Dynamic World": frozenset(range(9)),
    "IGBP (MODIS)": frozenset(range(1, 18)),
    "CORINE Land Cover (numbers 1 to 44)": frozenset(range(1, 45)),
}
"""Class values by product, the most specific first."""


def count_values(mask: NDArray[np.integer] | NDArray[np.floating]) -> dict[int, int]:
    """Return the number of pixels by value; -1, which is no data, is left out."""
    values, counts = np.unique(mask, return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return {int(value): count for value, count in pairs if value != -1}


def is_shifted(present: Collection[int], classes: Mapping[str, int]) -> int:
    """Return 1 if all values are one below those of the classes, -1 if above, else 0.

    Two classes at least must be there, and one value that no class has.
    """
    expected = set(classes.values())
    for step in (1, -1):
        shifted = {value + step for value in present}
        if len(expected) > 1 and shifted == expected and not set(present) <= expected:
            return step
    return 0


def explain(
    unnamed: Mapping[int, int], present: Collection[int], classes: Mapping[str, int]
) -> str:
    """Return what the values of a data set without a class look like; empty if like nothing."""
    step = is_shifted(present, classes)
    if step:
        side = "below" if step == 1 else "above"
        return f"all values are one {side} those of sources.manifest.classes"
    found = set(present) - {0}
    for product, values in PRODUCTS.items():
        # small numbers are of any product unless there are many of them
        specific = max(values) > 44 or len(found) > 4
        if found and found <= values and specific and set(unnamed) - {0}:
            return f"they look like {product}"
    return ""
