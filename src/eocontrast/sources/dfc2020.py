"""DFC2020 (Robinson et al. 2021): 6,114 pairs with land cover at 10 m.

The pairs are read from the user's folder or archive, or 5,128 of them are downloaded. Archives use
four folder layouts, and the one in use is detected. Three of them have the contest's two halves,
in which every scene is called 0:

- `ROIs0000_{validation,test}/{s1,s2,dfc}_0/`
- `ROIs0000_validation/{s1,s2,dfc}_validation/` beside `ROIs0000_test/{s1,s2,dfc}_0/`
- `dfc2020_s1s2/{s1,s2,dfc}/`, or these three folders alone: the half `test` only

The papers use the halves in opposite directions. The parameter `train` names the half to train on;
the other one is the test split. With `find_overlaps`, patches that share ground form a group.
Without it a half is one group, so no training patches are held out for validation, and intervals
resample seeds only. A single half is split by group.

The fourth layout, `ROIs0000_<season>/{s1,s2,dfc}_<Region>/`, has seven regions instead of halves.
Each region is a group, and the split is by group unless lists name it.
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
from eocontrast.sources.rois import BY_SCENE, RoiPatch, content, expected, find_optional_patches

Parts = dict[str, list[RoiPatch]]
"""Patches by half, or by season."""

LICENCE = "CC-BY-4.0"

HALVES = ("validation", "test")
"""The contest's names for 986 and 5,128 patches."""

SEASONS = ("spring", "summer", "autumn", "winter")
"""Parts of the layout by region."""

KINDS = ("s1", "s2", "dfc")
LAYOUTS = (BY_SCENE, "{roi}/{kind}_{half}", "dfc2020_s1s2/{kind}", "{kind}")
"""Folder layouts of the halves."""

TOPS = ("ROIs0000_*", "dfc2020_s1s2", "s1")
"""Top folders of the layouts."""

MIRROR = Archive(
    "dfc2020.zip",
    "f10ba017dab6f38b7a6857b169ea924b",
    # count two bands of float32, thirteen of 16 bits, and a mask of 8 bits
    5_128 * 256 * 256 * (2 * 4 + 13 * 2 + 1),
    "dfc2020_s1s2",
)
"""The half `test`, without a login. IEEE DataPort has both halves and asks for one."""

ADVICE = (
    "sources.dfc2020.path in params.yaml names the folder or one archive; the data are at "
    "https://doi.org/10.21227/rha7-m332"
)


def fetch(folder: Path, params: DFC2020Params, *, keep_archives: bool = False) -> Source:
    """Find the pairs and masks; download them into `folder` if the parameters name no path.

    Pixels are read only to find overlaps.

    Raises:
        UserError: the archive cannot be downloaded or unpacked, there are no patches, a patch has a
            missing raster, a list does not fit, or nothing would be left to test on.
    """
    if params.path:
        data = locate_data(params.path, [], folder, TOPS, params.md5s)
    else:
        fetch_archives([MIRROR], params.url, params.md5s, folder, keep=keep_archives)
        data = find_root(folder, TOPS)
    advice = ADVICE + unpack_again(data, folder)
    halves = _find(data, HALVES, LAYOUTS, advice)
    seasons = _find(data, SEASONS, (BY_SCENE,), advice)
    _check_parts(data, halves, seasons, advice)
    if not params.splits:
        _check_split(data, halves, params, advice)
    manifest = _manifest(data, folder, halves, seasons, params)
    if params.splits:
        others = _unlisted_split(params.splits)
        manifest = apply_lists(manifest, params.splits, others, "sources.dfc2020.splits")
    if params.find_overlaps:
        manifest = merge_overlapping(manifest, lambda raster: footprint(folder / raster))
    # published halves may cut a group that shares ground, and stay as they are
    manifest = divide_groups(manifest)
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest, licence=LICENCE)


def _unlisted_split(lists: Path | Mapping[Split, Path]) -> Split:
    """Return the split of patches on no list; a list of training patches is complete."""
    return "pretrain" if not isinstance(lists, Path) and "train" in lists else "train"


def _find(data: Path, parts: Sequence[str], layouts: Sequence[str], advice: str) -> Parts:
    patches = {
        part: find_optional_patches(data, f"ROIs0000_{part}", KINDS, advice, layouts)
        for part in parts
    }
    return {part: members for part, members in patches.items() if members}


def _check_parts(data: Path, halves: Parts, seasons: Parts, advice: str) -> None:
    """Check that there are halves or regions, but not both: they are the same patches."""
    if halves and seasons:
        half, season = (next(iter(parts.values()))[0] for parts in (halves, seasons))
        raise UserError(
            f"{data} has DFC2020 twice, by halves ({half.path('s1')}) and by regions "
            f"({season.path('s1')}); move one of the two away. {advice}"
        )
    if not halves and not seasons:
        wanted = [RoiPatch("ROIs0000_test", "0", "<number>", layout) for layout in LAYOUTS]
        wanted.append(RoiPatch("ROIs0000_<season>", "<Region>", "<number>"))
        raise UserError(
            f"looked for {expected(wanted, KINDS)}, and for ROIs0000_validation likewise, in "
            f"{data}, found {content(data, 'ROIs0000_test')}; {advice}"
        )


def _check_split(data: Path, halves: Parts, params: DFC2020Params, advice: str) -> None:
    """Check that the data can be split, and print how if `train` does not apply."""
    if not halves:
        print(
            f"{data} has DFC2020 by regions, not by halves: sources.dfc2020.train = {params.train} "
            "does not apply, and whole regions are held out for testing",
            file=sys.stderr,
        )
    elif len(halves) == 1:
        [(half, patches)] = halves.items()
        message = f"{data} has only the half {half} of DFC2020, {len(patches)} patches"
        if not params.find_overlaps:
            raise UserError(
                f"{message}, which form one group, so nothing is left to test on. Set "
                "sources.dfc2020.find_overlaps to true, name a list in sources.dfc2020.splits, or "
                f"add the other half; found {content(data)}; {advice}"
            )
        print(f"{message}: it is split by group", file=sys.stderr)


def _manifest(
    data: Path, folder: Path, halves: Parts, seasons: Parts, params: DFC2020Params
) -> pd.DataFrame:
    rows = []
    for part, patches in (halves or seasons).items():
        # a single half, and regions, are split by group in `normalise`
        split = ("train" if part == params.train else "test") if len(halves) == 2 else ""
        for patch in patches:
            # patches of a half start as their own groups if overlaps are merged later
            group = patch.name if params.find_overlaps else f"{part}_{patch.scene}"
            paths = [manifest_path(data, patch.path(kind), folder) for kind in KINDS]
            rows.append((patch.name, *paths, group if halves else patch.scene, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))
