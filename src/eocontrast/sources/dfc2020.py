"""DFC2020 (Robinson et al. 2021): 6,114 pairs with land cover of 10 m.

They are read where they are, unpacked from the user's archive, or (5,128 of them) fetched.
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

from eocontrast.config.sources import DFC2020Params, Split
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.published import (
    Archive,
    fetch_archives,
    find_root,
    locate_data,
    manifest_path,
    unpack_again,
)
from eocontrast.sources.official_splits import apply_lists, divide_groups
from eocontrast.sources.overlaps import footprint, merge_overlapping
from eocontrast.sources.rois import BY_SCENE, RoiPatch, content, expected, look_for_patches

Found = dict[str, list[RoiPatch]]
"""Patches by half, or by season."""

LICENCE = "CC-BY-4.0"

HALVES = ("validation", "test")
"""As the contest called them: 986 and 5,128 patches."""

SEASONS = ("spring", "summer", "autumn", "winter")
"""Of the layout by region."""

KINDS = ("s1", "s2", "dfc")
LAYOUTS = (BY_SCENE, "{roi}/{kind}_{half}", "dfc2020_s1s2/{kind}", "{kind}")
"""Of the halves."""

TOPS = ("ROIs0000_*", "dfc2020_s1s2", "s1")
"""What each of the layouts begins with."""

MIRROR = Archive(
    "dfc2020.zip",
    "f10ba017dab6f38b7a6857b169ea924b",
    5_128 * 256 * 256 * (2 * 4 + 13 * 2 + 1),
    "dfc2020_s1s2",
)
"""Of the half `test` only; IEEE DataPort, which has both, asks for a login."""

ADVICE = (
    "sources.dfc2020.path in params.yaml names the folder, or one archive; the data are at "
    "https://doi.org/10.21227/rha7-m332"
)


def fetch(folder: Path, params: DFC2020Params, *, keep_archives: bool = False) -> Source:
    """Name the pairs and masks; fetches them into `folder` where no path is named.

    Pixels are read only to find overlaps.

    Raises:
        UserError: the archive cannot be had or unpacked, there is no patch where it is looked for,
            a patch lacks a raster, a list of the split does not fit, or there would be nothing to
            test on.
    """
    if params.path:
        data = locate_data(params.path, [], folder, TOPS, params.md5s)
    else:
        fetch_archives([MIRROR], params.url, params.md5s, folder, keep=keep_archives)
        data = find_root(folder, TOPS)
    advice = ADVICE + unpack_again(data, folder)
    halves = _look(data, HALVES, LAYOUTS, advice)
    seasons = _look(data, SEASONS, (BY_SCENE,), advice)
    _check_found(data, halves, seasons, advice)
    if seasons and not params.splits:
        _say_regions(data, params)
    if halves and not params.splits:
        _check_halves(data, halves, params, advice)
    manifest = _manifest(data, folder, halves, seasons, params)
    if params.splits:
        manifest = apply_lists(
            manifest, params.splits, _others(params.splits), "sources.dfc2020.splits"
        )
    if params.find_overlaps:
        manifest = merge_overlapping(manifest, lambda raster: footprint(folder / raster))
    manifest = divide_groups(manifest)
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest, licence=LICENCE)


def _others(lists: Path | Mapping[Split, Path]) -> Split:
    """The split of patches that no list names; a list of training patches is all of them."""
    return "pretrain" if not isinstance(lists, Path) and "train" in lists else "train"


def _look(data: Path, parts: Sequence[str], layouts: Sequence[str], advice: str) -> Found:
    found = {
        part: look_for_patches(data, f"ROIs0000_{part}", KINDS, advice, layouts) for part in parts
    }
    return {part: patches for part, patches in found.items() if patches}


def _check_found(data: Path, halves: Found, seasons: Found, advice: str) -> None:
    """There are halves or regions, not both: they are the same patches."""
    if halves and seasons:
        half, season = (next(iter(found.values()))[0] for found in (halves, seasons))
        raise UserError(
            f"{data} holds DFC2020 twice, by halves ({half.path('s1')}) and by regions "
            f"({season.path('s1')}): move one of the two away; {advice}"
        )
    if not halves and not seasons:
        wanted = [RoiPatch("ROIs0000_test", "0", "<number>", layout) for layout in LAYOUTS]
        wanted.append(RoiPatch("ROIs0000_<season>", "<Region>", "<number>"))
        raise UserError(
            f"looked for {expected(wanted, KINDS)}, and for ROIs0000_validation likewise, in "
            f"{data}, found {content(data, 'ROIs0000_test')}; {advice}"
        )


def _check_halves(data: Path, halves: Found, params: DFC2020Params, advice: str) -> None:
    """Both are there; or one, and groups to split it by."""
    if len(halves) == 2:
        return
    [(half, patches)] = halves.items()
    seen = f"only the half {half} of DFC2020 is in {data}, {len(patches)} patches"
    if not params.find_overlaps:
        raise UserError(
            f"{seen}, which are one group: nothing would be left to test on; set "
            "sources.dfc2020.find_overlaps to true to split it by what shares ground, name a list "
            f"in sources.dfc2020.splits, or add the other half; found {content(data)}; {advice}"
        )
    print(f"{seen}: it is split by group", file=sys.stderr)


def _say_regions(data: Path, params: DFC2020Params) -> None:
    print(
        f"{data} has DFC2020 by regions, not by halves: sources.dfc2020.train = {params.train} "
        "does not apply, and whole regions are tested on",
        file=sys.stderr,
    )


def _manifest(
    data: Path, folder: Path, halves: Found, seasons: Found, params: DFC2020Params
) -> pd.DataFrame:
    rows = []
    for part, patches in (halves or seasons).items():
        split = ("train" if part == params.train else "test") if len(halves) == 2 else ""
        for patch in patches:
            # patches of a half start alone where overlaps then join them
            alone = patch.name if params.find_overlaps else f"{part}_{patch.scene}"
            paths = [manifest_path(data, patch.path(kind), folder) for kind in KINDS]
            rows.append((patch.name, *paths, alone if halves else patch.scene, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))
