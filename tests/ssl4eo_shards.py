"""Shards as SSL4EO-S12 v1.1 publishes them, with three places of 16 pixels a side."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from eocontrast.modalities import SENTINEL2_L1C, SENTINEL2_L2A

PLACES = ("0080711", "0060571", "0179861")
SIDE = 16
S2_DATES = ("20200330T052649", "20200628T052649", "20200926T052649", "20201225T052649")
S1_PRODUCTS = (  # by name, as the pixels are: S1B, of the second and third date, comes last
    "S1A_IW_GRDH_1SDV_20200401T174031_20200401T174056_032506_03C3BC_30A2",
    "S1A_IW_GRDH_1SDV_20201223T174036_20201223T174101_036531_044A3A_3DC8",
    "S1B_IW_GRDH_1SDV_20200630T174006_20200630T174031_022835_02B578_CC7B",
    "S1B_IW_GRDH_1SDV_20200924T174006_20200924T174031_022835_02B578_CC7C",
)
S1_DATES_OF = (0, 3, 1, 2)
"""Date of Sentinel-2 that each image of Sentinel-1 belongs to."""


def optical(offset: int, level: str = "L1C") -> NDArray[np.int16]:
    """Return digital numbers (3, 4, bands, 16, 16) of dark and bright ground."""
    bands = (SENTINEL2_L1C if level == "L1C" else SENTINEL2_L2A).bands
    draws = np.random.default_rng(1)
    ground = draws.gamma(2, 300, (len(PLACES), 4, len(bands), SIDE, SIDE))
    if "B10" in bands:
        ground[:, :, bands.index("B10")] = draws.normal(20, 6, ground.shape[-2:])
    values = ground.clip(1, 9000) + offset
    values[0, :, :, :2] = 0  # outside the swath, in all bands
    return values.astype(np.int16)


def radar() -> NDArray[np.float16]:
    """Return dB (3, 4, 2, 16, 16) by the order of products; the mean tells the date."""
    draws = np.random.default_rng(2)
    level = np.array([-10.0 - date for date in S1_DATES_OF])[None, :, None, None, None]
    speckle = draws.normal(0, 0.3, (len(PLACES), 4, 2, SIDE, SIDE))
    values = level + np.array([0, -7.0])[:, None, None] + speckle
    return np.asarray(values, np.float16)


def write_shard(path: Path, kind: str, bands: NDArray[Any], **replaced: NDArray[Any]) -> Path:
    """Write a shard of `S1GRD`, `S2L1C` or `S2L2A`; `replaced` are other arrays of these names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(PLACES)
    names = {"S1GRD": ("vv", "vh"), "S2L1C": SENTINEL2_L1C.bands, "S2L2A": SENTINEL2_L2A.bands}
    products = S1_PRODUCTS if kind == "S1GRD" else [f"{date}_{date}_T51" for date in S2_DATES]
    clouds = np.zeros((count, 4, SIDE, SIDE), np.uint8)
    clouds[1, :, :4] = 4  # thick cloud over a quarter
    corner = 10.0 * np.arange(SIDE)
    arrays = {
        "bands": bands,
        "band": np.array(names[kind]),
        "sample": np.array(PLACES),
        "file_id": np.array([products] * count),
        "crs": np.array([32651, 32751, 32652]),
        "x_": np.array([500_005 + corner] * count),
        "y_": np.array([4_700_005 - corner] * count),
        **({} if kind == "S1GRD" else {"cloud_mask": clouds}),
        **replaced,
    }
    with ZipStore(path, mode="w") as store:
        group = zarr.create_group(store, zarr_format=2)
        for name, values in arrays.items():
            chunks = (1, *values.shape[1:]) if name == "bands" else values.shape
            # seasons are chunks of their own, as published
            chunks = (count, 1, *values.shape[2:]) if name == "bands" else chunks
            array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)
            array[:] = values
    return path


def write_shards(folder: Path, numbers: tuple[int, ...] = (1,), offset: int = 1000) -> Path:
    """Write shards of the part `val` for both sensors and levels, and return the folder."""
    for number in numbers:
        for kind in ("S1GRD", "S2L1C", "S2L2A"):
            name = f"val/{kind}/ssl4eos12_val_seasonal_data_{number:06d}.zarr.zip"
            bands = radar() if kind == "S1GRD" else optical(offset, kind[2:])
            places = np.array([f"{place[:-1]}{number}" for place in PLACES])
            write_shard(folder / name, kind, bands, sample=places)
    return folder
