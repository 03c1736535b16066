"""SEN12MS (Schmitt et al. 2019): 180,662 pairs of all continents and seasons, to pretrain on.

The rasters are read where they are. The land cover that comes with them, MODIS at 500 m, is not:
both papers pretrain on the images alone. A scene's patches may overlap, so a scene is a group;
scenes may overlap too, which `find_overlaps` finds by reading every Sentinel-2 raster. Patches of a
hold-out list are `test`, which is never learnt from, even where it shares a scene with others.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.params import Season, SEN12MSParams
from eocontrast.sources import COLUMNS, Source
from eocontrast.sources.official_splits import apply_lists, divide_groups
from eocontrast.sources.overlaps import footprint, merge_overlapping
from eocontrast.sources.rois import data_folder, find_patches

ROIS: dict[Season, str] = {
    "spring": "ROIs1158_spring",
    "summer": "ROIs1868_summer",
    "fall": "ROIs1970_fall",
    "winter": "ROIs2017_winter",
}

ADVICE = (
    "sources.sen12ms in params.yaml names the folder and the seasons; the data are at "
    "https://doi.org/10.14459/2019mp1474000"
)


def fetch(folder: Path, params: SEN12MSParams) -> Source:
    """Name the pairs of the chosen seasons; copies nothing, reads pixels only to find overlaps.

    Raises:
        UserError: a season has no patch where it is looked for, a patch lacks a raster, or a list
            of the split does not fit.
    """
    data, rows = data_folder(params.path), []
    for season in params.seasons:
        for patch in find_patches(data, ROIS[season], ("s1", "s2"), ADVICE):
            s1, s2 = (str(data / patch.path(kind)) for kind in ("s1", "s2"))
            rows.append((patch.name, s1, s2, "", f"{season}_{patch.scene}", "pretrain"))
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    if params.splits:
        rois = [ROIS[season] for season in params.seasons]
        where = "sources.sen12ms.splits"
        manifest = apply_lists(manifest, params.splits, "pretrain", where, rois)
    if params.find_overlaps:
        manifest = merge_overlapping(manifest, footprint)
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, divide_groups(manifest))
