"""DFC2020 (Robinson et al. 2021): 6,114 pairs with land cover of 10 m, in two official halves.

The papers use them in opposite directions, so the parameter `train` says which half is learnt from;
the other one is tested on. The rasters are read where they are. The files call every scene 0, so a
half is one group: no part of the learnt half is kept for validation, and intervals resample seeds
alone.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.params import DFC2020Params
from eocontrast.sources import COLUMNS, Source
from eocontrast.sources.rois import data_folder, find_patches

HALVES = ("validation", "test")
"""As the contest called them: 986 and 5,128 patches."""

ADVICE = (
    "sources.dfc2020.path in params.yaml names the folder; the data are at "
    "https://doi.org/10.21227/rha7-m332"
)


def fetch(folder: Path, params: DFC2020Params) -> Source:
    """Name the pairs and masks of both halves; copies nothing and reads no pixel.

    Raises:
        UserError: a half has no patch where it is looked for, or a patch lacks a raster.
    """
    data, rows = data_folder(params.path), []
    for half in HALVES:
        split = "train" if half == params.train else "test"
        for patch in find_patches(data, f"ROIs0000_{half}", ("s1", "s2", "dfc"), ADVICE):
            paths = [str(data / patch.path(kind)) for kind in ("s1", "s2", "dfc")]
            rows.append((patch.name, *paths, f"{half}_{patch.scene}", split))
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    return Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest)
