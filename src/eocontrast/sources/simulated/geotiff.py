"""Rasters of a scene in the format of SEN12MS and DFC2020."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.sources.rois import ROIS
from eocontrast.sources.simulated.scene import PIXEL, Scene

FOLDERS = (*ROIS.values(), "ROIs0000_validation", "ROIs0000_test")

LCCS = np.zeros((18, 3), dtype=np.uint8)
"""FAO-LCCS land cover, land use and hydrology of IGBP classes (MCD12Q1 guide, tables 4 to 6)."""
LCCS[[1, 2, 3, 4, 5]] = [(11, 10, 10), (12, 10, 10), (13, 10, 10), (14, 10, 10), (15, 10, 10)]
LCCS[[6, 7, 8, 9]] = [(41, 40, 40), (43, 40, 40), (21, 20, 20), (22, 20, 20)]
LCCS[[10, 11, 12]] = [(31, 30, 30), (31, 30, 50), (31, 36, 30)]
LCCS[[13, 14]] = [(1, 9, 1), (31, 35, 30)]
LCCS[[15, 16, 17]] = [(2, 2, 2), (1, 1, 1), (3, 3, 3)]

BANDS = {
    "s1": SENTINEL1.bands,
    "s2": SENTINEL2_L1C.bands,
    "lc": ("IGBP", "LCCS land cover", "LCCS land use", "LCCS surface hydrology"),
    "dfc": ("DFC2020",),
}

# bytes besides the pixels, measured: at most 2 kB with 13 band descriptions
HEADER = 2048


def kinds(split: str) -> tuple[str, ...]:
    """Return the rasters of a patch; only labelled splits have DFC2020 classes."""
    return ("s1", "s2", "lc") if split == "pretrain" else ("s1", "s2", "lc", "dfc")


def patch_path(scene: Scene, kind: str, patch: int) -> str:
    """Return the path of one raster relative to the source's folder."""
    if scene.split == "pretrain":
        roi, number, patch_id = ROIS[scene.season], scene.index + 1, patch
    else:
        # DFC2020 calls every scene 0 and numbers patches across scenes
        roi = "ROIs0000_validation" if scene.split == "train" else "ROIs0000_test"
        number, patch_id = 0, scene.index * scene.side**2 + patch
    return f"{roi}/{kind}_{number}/{roi}_{kind}_{number}_p{patch_id}.tif"


def patch_bytes(split: str, patch_size: int) -> int:
    """Return an upper bound of the bytes of one patch's files."""
    pixel = {"s1": 8, "s2": 26, "lc": 4, "dfc": 1}
    return sum(pixel[kind] * patch_size**2 + HEADER for kind in kinds(split))


def write_scene(
    folder: Path,
    scene: Scene,
    s1: NDArray[np.float32],
    s2: NDArray[np.uint16],
    igbp: NDArray[np.uint8],
    dfc: NDArray[np.uint8],
) -> None:
    """Cut a scene into its patches, row by row.

    Args:
        folder: folder of the source.
        scene: the scene.
        s1: backscatter, (2, size, size).
        s2: digital numbers, (13, size, size).
        igbp: land cover, (size, size).
        dfc: DFC2020 class, (size, size).
    """
    land_cover = np.stack([igbp, *np.moveaxis(LCCS[igbp], -1, 0)])
    rasters: dict[str, NDArray[np.generic]] = {
        "s1": s1,
        "s2": s2,
        "lc": land_cover,
        "dfc": dfc[None],
    }
    for kind in kinds(scene.split):
        (folder / patch_path(scene, kind, scene.kept[0])).parent.mkdir(parents=True, exist_ok=True)
    crs, size = CRS.from_epsg(scene.epsg), scene.patch_size
    with rasterio.Env():  # one for all files, else every file sets up its own
        for patch, kind in product(scene.kept, kinds(scene.split)):
            row, column = (step * size for step in divmod(patch, scene.side))
            values = rasters[kind][:, row : row + size, column : column + size]
            origin = (scene.origin[0] + column * PIXEL, scene.origin[1] - row * PIXEL)
            _write(folder / patch_path(scene, kind, patch), values, BANDS[kind], crs, origin)


def _write(
    path: Path,
    values: NDArray[np.generic],
    bands: tuple[str, ...],
    crs: CRS,
    origin: tuple[float, float],
) -> None:
    """Write (bands, rows, columns) to a temporary name, then rename it."""
    partial = path.with_suffix(".part")
    with rasterio.open(
        partial,
        "w",
        driver="GTiff",
        count=values.shape[0],
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs=crs,
        transform=Affine(PIXEL, 0, origin[0], 0, -PIXEL, origin[1]),
        interleave="band",
    ) as raster:
        raster.write(values)
        raster.descriptions = bands
    partial.replace(path)
