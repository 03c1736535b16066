"""SEN12MS (Schmitt et al. 2019): 180,662 pairs from all continents and seasons, for pretraining.

The archives are downloaded, or the user's rasters are read in place. Land cover (MODIS at 500 m) is
ignored, because both papers pretrain on the images alone. Patches of a scene overlap, so a scene is
a group. Scenes may overlap too: `find_overlaps` reads every Sentinel-2 raster to find out. Patches
on a hold-out list are `test` and never trained on, even if others of their scene are.
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
from eocontrast.sources.rois import ROIS, find_patches

LICENCE = "CC-BY-4.0"

# add up to the 180,662 pairs of Schmitt et al. 2019; they give the space to reserve
_PATCHES: dict[Season, int] = {
    "spring": 40_883,
    "summer": 45_753,
    "fall": 62_201,
    "winter": 31_825,
}
_BYTES = {"s1": 256 * 256 * 2 * 4, "s2": 256 * 256 * 13 * 2}
"""Size of one raster: two bands of float32, thirteen of uint16."""

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
"""Published digests of the archives of images."""

ADVICE = (
    "sources.sen12ms in params.yaml names the folder and the seasons; the data are at "
    "https://doi.org/10.14459/2019mp1474000"
)


def archives(seasons: Sequence[Season]) -> list[Archive]:
    """Return the archives with the images of these seasons."""
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
    """Find the pairs of the chosen seasons; download them if the parameters name no path.

    Pixels are read only to find overlaps.

    Raises:
        UserError: an archive cannot be downloaded or unpacked, a season has no patches, a patch has
            a missing raster, or a list does not fit.
    """
    wanted, rows = archives(params.seasons), []
    rois = [ROIS[season] for season in params.seasons]
    if params.path:
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
        parameter = "sources.sen12ms.splits"
        manifest = apply_lists(manifest, params.splits, "pretrain", parameter, rois)
    if params.find_overlaps:
        manifest = merge_overlapping(manifest, lambda raster: footprint(folder / raster))
    manifest = divide_groups(manifest)
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest, licence=LICENCE)
