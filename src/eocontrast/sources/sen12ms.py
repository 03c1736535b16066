"""SEN12MS (Schmitt et al. 2019): 180,662 pairs of all continents and seasons, to pretrain on.

The archives are fetched, or the user's rasters are read where they are. The land cover that comes
with them, MODIS at 500 m, is not: both papers pretrain on the images alone. A scene's patches may
overlap, so a scene is a group; scenes may overlap too, which `find_overlaps` finds by reading every
Sentinel-2 raster. Patches of a hold-out list are `test`, which is never learnt from, even where it
shares a scene with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eocontrast.config.sources import Season, SEN12MSParams
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.sources.download.published import (
    Archive,
    fetch_archives,
    locate_data,
    manifest_path,
    unpack_again,
)
from eocontrast.sources.official_splits import apply_lists, divide_groups
from eocontrast.sources.overlaps import footprint, merge_overlapping
from eocontrast.sources.rois import find_patches

LICENCE = "CC-BY-4.0"

ROIS: dict[Season, str] = {
    "spring": "ROIs1158_spring",
    "summer": "ROIs1868_summer",
    "fall": "ROIs1970_fall",
    "winter": "ROIs2017_winter",
}

_PATCHES: dict[Season, int] = {
    "spring": 40_883,
    "summer": 45_753,
    "fall": 62_201,
    "winter": 31_825,
}
_BYTES = {"s1": 256 * 256 * 2 * 4, "s2": 256 * 256 * 13 * 2}
"""Of one raster: float32 of two bands, uint16 of thirteen."""

_MD5S: dict[Season, dict[str, str]] = {
    "spring": {
        "s1": "fba019bb27a08c1db96b31f718c34d79",
        "s2": "d58af2c15a16f376eb3308dc9b685af2",
    },
    "summer": {
        "s1": "01044b7f58d33570c6b57fec28a3d449",
        "s2": "4dbaf72ecb704a4794036fe691427ff3",
    },
    "fall": {
        "s1": "19132e0aab9d4d6862fd42e8e6760847",
        "s2": "b8f117818878da86b5f5e06400eb1866",
    },
    "winter": {
        "s1": "bb8cbfc16b95a4f054a3d5380e0130ed",
        "s2": "3807545661288dcca312c9c538537b63",
    },
}
"""As published; the archives of land cover are not needed."""

ADVICE = (
    "sources.sen12ms in params.yaml names the folder and the seasons; the data are at "
    "https://doi.org/10.14459/2019mp1474000"
)


def archives(seasons: Sequence[Season]) -> list[Archive]:
    """Those that the images of some seasons come in."""
    return [
        Archive(
            f"{ROIS[season]}_{sensor}.tar.gz",
            _MD5S[season][sensor],
            _PATCHES[season] * size,
            f"{ROIS[season]}/{sensor}_*",
        )
        for season in seasons
        for sensor, size in _BYTES.items()
    ]


def fetch(folder: Path, params: SEN12MSParams, *, keep_archives: bool = False) -> Source:
    """Name the pairs of the chosen seasons; fetches them into `folder` where no path is named.

    Pixels are read only to find overlaps.

    Raises:
        UserError: an archive cannot be had or unpacked, a season has no patch where it is looked
            for, a patch lacks a raster, or a list of the split does not fit.
    """
    wanted, rows = archives(params.seasons), []
    if params.path:
        rois = [ROIS[season] for season in params.seasons]
        data = locate_data(params.path, wanted, folder, rois, params.md5s)
    else:
        fetch_archives(wanted, params.url, params.md5s, folder, keep=keep_archives)
        data = folder
    advice = ADVICE + unpack_again(data, folder)
    for season in params.seasons:
        for patch in find_patches(data, ROIS[season], ("s1", "s2"), advice):
            s1, s2 = (manifest_path(data, patch.path(kind), folder) for kind in ("s1", "s2"))
            rows.append((patch.name, s1, s2, "", f"{season}_{patch.scene}", "pretrain"))
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    if params.splits:
        rois = [ROIS[season] for season in params.seasons]
        where = "sources.sen12ms.splits"
        manifest = apply_lists(manifest, params.splits, "pretrain", where, rois)
    if params.find_overlaps:
        manifest = merge_overlapping(manifest, lambda raster: footprint(folder / raster))
    manifest = divide_groups(manifest)
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest, licence=LICENCE)
