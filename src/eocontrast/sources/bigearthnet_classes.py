"""The 19 classes of BigEarthNet, and their codes in CORINE's maps of 2018.

Names and merging are those of Sumbul et al. 2021 (BigEarthNet-MM), table 2. Codes of the eleven
CORINE classes without a successor, such as airports (124) and bare rock (332), are in no class.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from eocontrast.labels import SEPARATOR

CODES: dict[str, tuple[int, ...]] = {
    "Urban fabric": (111, 112),
    "Industrial or commercial units": (121,),
    "Arable land": (211, 212, 213),
    "Permanent crops": (221, 222, 223, 241),
    "Pastures": (231,),
    "Complex cultivation patterns": (242,),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        243,
    ),
    "Agro-forestry areas": (244,),
    "Broad-leaved forest": (311,),
    "Coniferous forest": (312,),
    "Mixed forest": (313,),
    "Natural grassland and sparsely vegetated areas": (321, 333),
    "Moors, heathland and sclerophyllous vegetation": (322, 323),
    "Transitional woodland, shrub": (324,),
    "Beaches, dunes, sands": (331,),
    "Inland wetlands": (411, 412),
    "Coastal wetlands": (421, 422),
    "Inland waters": (511, 512),
    "Marine waters": (521, 522, 523),
}
"""Codes of CORINE's third level by class, in the order of BigEarthNet."""

NINETEEN: dict[str, int] = {name: number for number, name in enumerate(CODES, 1)}
"""Class values of the masks; 0 is no class."""

PALETTE_19: dict[str, str] = dict(
    zip(
        NINETEEN,
        (
            *("#e6004d", "#cc4df2", "#ffffa8", "#e68000", "#e6e64d", "#ffe64d", "#e6cc4d"),
            *("#f2cca6", "#80ff00", "#00a600", "#4dff00", "#ccf24d", "#a6ff80", "#a6f200"),
            *("#e6e6e6", "#a6a6ff", "#ccccff", "#80f2e6", "#e6f2ff"),
        ),
        strict=True,
    )
)
"""CORINE's own colours; of merged classes that of the first."""


def nineteen_names(labels: Iterable[str]) -> str:
    """Return the classes of a patch joined by `|`, in the order of the class values.

    Raises:
        KeyError: a label is not one of the 19.
    """
    return SEPARATOR.join(sorted(labels, key=NINETEEN.__getitem__))


def nineteen_classes(codes: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return the class values of a map of CORINE codes, same shape; 0 for other codes."""
    table = np.zeros(1000, dtype=np.uint8)  # codes have three digits
    for name, members in CODES.items():
        table[list(members)] = NINETEEN[name]
    return table.take(codes.astype(np.intp), mode="clip")
