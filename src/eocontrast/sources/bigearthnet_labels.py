"""Patch labels from BigEarthNet's lists of CORINE classes.

BigEarthNet lists the CORINE land-cover classes of a patch, without their areas. They are mapped to
CORINE's level-1 groups, the group with most classes first: three kinds of forest and one pasture
make `Forest and semi-natural|Agricultural`. Single-label tasks take the first group. Ties follow
CORINE's order, which is that of `CLASSES`. A patch with none of the 19 classes has no label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from eocontrast.labels import SEPARATOR

CLASSES: dict[str, int] = {
    "Artificial": 1,
    "Agricultural": 2,
    "Forest and semi-natural": 3,
    "Wetlands": 4,
    "Water": 5,
}
"""CORINE's level-1 groups and their codes."""

PALETTE: dict[str, str] = {
    "Artificial": "#e6004d",
    "Agricultural": "#ffe64d",
    "Forest and semi-natural": "#1f9a1f",
    "Wetlands": "#a6a6ff",
    "Water": "#00ccf2",
}

_NINETEEN: dict[str, tuple[str, ...]] = {
    "Artificial": ("Urban fabric", "Industrial or commercial units"),
    "Agricultural": (
        "Arable land",
        "Permanent crops",
        "Pastures",
        "Complex cultivation patterns",
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        "Agro-forestry areas",
    ),
    "Forest and semi-natural": (
        "Broad-leaved forest",
        "Coniferous forest",
        "Mixed forest",
        "Natural grassland and sparsely vegetated areas",
        "Moors, heathland and sclerophyllous vegetation",
        "Transitional woodland, shrub",
        "Beaches, dunes, sands",
    ),
    "Wetlands": ("Inland wetlands", "Coastal wetlands"),
    "Water": ("Inland waters", "Marine waters"),
}
"""The 19 classes of Sumbul et al. 2021 (BigEarthNet-MM), table 2, by group."""

_RENAMED: dict[str, tuple[str, ...]] = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards",
        "Fruit trees and berry plantations",
        "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Natural grassland and sparsely vegetated areas": (
        "Natural grassland",
        "Sparsely vegetated areas",
    ),
    "Moors, heathland and sclerophyllous vegetation": (
        "Moors and heathland",
        "Sclerophyllous vegetation",
    ),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}
"""Classes of the older 43 with another name among the 19."""

_DROPPED = frozenset(
    {
        "Road and rail networks and associated land",
        "Port areas",
        "Airports",
        "Mineral extraction sites",
        "Dump sites",
        "Construction sites",
        "Green urban areas",
        "Sport and leisure facilities",
        "Bare rock",
        "Burnt areas",
        "Intertidal flats",
    }
)
"""Classes of the older 43 without a successor among the 19."""

_GROUP = {name: group for group, names in _NINETEEN.items() for name in names}
_NEW = {old: new for new, names in _RENAMED.items() for old in names}


def level1_groups(labels: Iterable[str]) -> str:
    """Return the level-1 groups of a patch joined by `|`, that of most labels first.

    Args:
        labels: names of the 19-class or the 43-class nomenclature.

    Raises:
        KeyError: a label is in neither.
    """
    # two of the 43 classes may be one of the 19, which counts once
    new = {_NEW.get(name, name) for name in labels if name not in _DROPPED}
    counts = Counter(_GROUP[name] for name in new)
    # a stable sort: ties keep CORINE's order
    present = sorted((g for g in CLASSES if counts[g]), key=lambda group: -counts[group])
    return SEPARATOR.join(present)
