"""DFC2020 (Robinson et al. 2021): 6,114 pairs with land cover of 10 m, read where they are.

The archives that go round lay the same patches out differently; which one it is, is seen. Three
hold the contest's two halves, whose files call every scene 0:

- `ROIs0000_{validation,test}/{s1,s2,dfc}_0/`
- `ROIs0000_validation/{s1,s2,dfc}_validation/` beside `ROIs0000_test/{s1,s2,dfc}_0/`
- `dfc2020_s1s2/{s1,s2,dfc}/` or these three alone, of the half `test` only

The papers use the halves in opposite directions, so the parameter `train` says which one is learnt
from; the other one is tested on. With `find_overlaps` a group is what shares ground, else a half is
one group: then no part of the learnt half is kept for validation, and intervals resample seeds
alone. Where one half is missing, the other is split by group.

The fourth, `ROIs0000_<season>/{s1,s2,dfc}_<Region>/`, has seven regions instead of halves. Regions
are the groups, and the split, where no list names it, is by group.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eocontrast.errors import UserError
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.params import DFC2020Params, Split
from eocontrast.sources import COLUMNS, Source
from eocontrast.sources.official_splits import apply_lists, divide_groups
from eocontrast.sources.overlaps import footprint, merge_overlapping
from eocontrast.sources.rois import (
    BY_SCENE,
    RoiPatch,
    content,
    data_folder,
    expected,
    look_for_patches,
)

Found = dict[str, list[RoiPatch]]
"""Patches by half, or by season."""

HALVES = ("validation", "test")
"""As the contest called them: 986 and 5,128 patches."""

SEASONS = ("spring", "summer", "autumn", "winter")
"""Of the layout by region."""

KINDS = ("s1", "s2", "dfc")
LAYOUTS = (BY_SCENE, "{roi}/{kind}_{half}", "dfc2020_s1s2/{kind}", "{kind}")
"""Of the halves."""

ADVICE = (
    "sources.dfc2020.path in params.yaml names the folder; the data are at "
    "https://doi.org/10.21227/rha7-m332"
)


def fetch(folder: Path, params: DFC2020Params) -> Source:
    """Name the pairs and masks; copies nothing, and reads pixels only to find overlaps.

    Raises:
        UserError: there is no patch where it is looked for, a patch lacks a raster, a list of the
            split does not fit, or there would be nothing to test on.
    """
    data = data_folder(params.path)
    halves, seasons = _look(data, HALVES, LAYOUTS), _look(data, SEASONS, (BY_SCENE,))
    _check_found(data, halves, seasons)
    if halves and not params.splits:
        _check_halves(data, halves, params)
    manifest = _manifest(data, halves, seasons, params)
    if params.splits:
        manifest = apply_lists(
            manifest, params.splits, _others(params.splits), "sources.dfc2020.splits"
        )
    if params.find_overlaps:
        manifest = merge_overlapping(manifest, footprint)
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, divide_groups(manifest))


def _others(lists: Path | Mapping[Split, Path]) -> Split:
    """The split of patches that no list names; a list of training patches is all of them."""
    return "pretrain" if not isinstance(lists, Path) and "train" in lists else "train"


def _look(data: Path, parts: Sequence[str], layouts: Sequence[str]) -> Found:
    found = {
        part: look_for_patches(data, f"ROIs0000_{part}", KINDS, ADVICE, layouts) for part in parts
    }
    return {part: patches for part, patches in found.items() if patches}


def _check_found(data: Path, halves: Found, seasons: Found) -> None:
    """There are halves or regions, not both: they are the same patches."""
    if halves and seasons:
        half, season = (next(iter(found.values()))[0] for found in (halves, seasons))
        raise UserError(
            f"{data} holds DFC2020 twice, by halves ({half.path('s1')}) and by regions "
            f"({season.path('s1')}): move one of the two away; {ADVICE}"
        )
    if not halves and not seasons:
        wanted = [RoiPatch("ROIs0000_test", "0", "<number>", layout) for layout in LAYOUTS]
        wanted.append(RoiPatch("ROIs0000_<season>", "<Region>", "<number>"))
        raise UserError(
            f"looked for {expected(wanted, KINDS)}, and for ROIs0000_validation likewise, in "
            f"{data}, found {content(data, 'ROIs0000_test')}; {ADVICE}"
        )


def _check_halves(data: Path, halves: Found, params: DFC2020Params) -> None:
    """Both are there; or one, and groups to split it by."""
    if len(halves) == 2:
        return
    [(half, patches)] = halves.items()
    seen = f"only the half {half} of DFC2020 is in {data}, {len(patches)} patches"
    if not params.find_overlaps:
        raise UserError(
            f"{seen}, which are one group: nothing would be left to test on; set "
            "sources.dfc2020.find_overlaps to true to split it by what shares ground, name a list "
            f"in sources.dfc2020.splits, or add the other half; found {content(data)}; {ADVICE}"
        )
    print(f"{seen}: it is split by group", file=sys.stderr)


def _manifest(data: Path, halves: Found, seasons: Found, params: DFC2020Params) -> pd.DataFrame:
    rows = []
    for part, patches in (halves or seasons).items():
        split = ("train" if part == params.train else "test") if len(halves) == 2 else ""
        for patch in patches:
            # patches of a half start alone where overlaps then join them
            alone = patch.name if params.find_overlaps else f"{part}_{patch.scene}"
            paths = [str(data / patch.path(kind)) for kind in KINDS]
            rows.append((patch.name, *paths, alone if halves else patch.scene, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))
