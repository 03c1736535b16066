"""BigEarthNet: the user's full reBEN (module `reben`), or a sample of thirty real pairs.

The sample comes from two packages. `bigearthnet-common` has 6 pairs of version 1 as GeoTIFF, and
`configilm` has 24 pairs of version 2 (reBEN) as safetensors in an LMDB. Each pair is Sentinel-2 L2A
and Sentinel-1 GRD in dB, 1.2 km x 1.2 km. They are written in the layout of the full data set: a
folder per patch, a file per band at its native resolution.

The split is the data set's own: test is `test`, train and validation are `train`. Adjacent patches
form a group, which is tested on only if all its patches are test patches.
"""

from __future__ import annotations

import bz2
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from safetensors.numpy import load

from eocontrast.config.sources import BigEarthNetParams
from eocontrast.modalities import SENTINEL1, SENTINEL2_L2A
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.bigearthnet_classes import NINETEEN, PALETTE_19
from eocontrast.sources.bigearthnet_labels import CLASSES, PALETTE, level1_groups
from eocontrast.sources.download.archives import extract, scratch
from eocontrast.sources.download.wheels import fetch_wheel
from eocontrast.sources.neighbours import Place, neighbours
from eocontrast.sources.reben import describe_reben

LICENCE = "CDLA-Permissive-1.0"

PATCH_METRES = 1200

_V1 = "bigearthnet_common"
_V2 = "configilm/extra/mock_data/BENv2"  # real pairs, despite the name

_CORNERS = {"33UUP": (32633, 300000, 5400000), "35VNJ": (32635, 499980, 6900000)}
"""EPSG code and upper-left corner in metres of the tiles whose pairs have no georeference.

A Sentinel-2 tile starts at the north-west corner of its MGRS 100 km square, moved outwards to a
multiple of 60 m. The georeferenced GeoTIFF pairs, in 33UUP, 29SND, 29UPU and 35VPK, agree.
"""


@dataclass(frozen=True)
class Pair:
    """Names of the two patches of a place, its CORINE classes, and whether it is a test patch."""

    s1: str
    s2: str
    labels: tuple[str, ...]
    test: bool

    @property
    def place(self) -> Place:
        """Tile, column and row, which end the Sentinel-1 names of both versions."""
        tile, column, row = self.s1.split("_")[-3:]
        return tile, int(column), int(row)


def fetch(folder: Path, params: BigEarthNetParams, *, keep_archives: bool = False) -> Source:
    """Find the pairs of the user's folder or archives, download reBEN, or write the sample.

    Raises:
        UserError: the folder is not a complete reBEN, something cannot be downloaded, the
            parameters do not apply to the sample, or the disk is full.
    """
    if params.path != "sample":
        manifest = describe_reben(folder, params, keep_archives=keep_archives)
    else:
        _check_sample(params)
        manifest = describe(_write_sample(folder))
    classes, palette = (CLASSES, PALETTE) if params.classes == "level_1" else (NINETEEN, PALETTE_19)
    return Source(SENTINEL1, SENTINEL2_L2A, classes, palette, manifest, licence=LICENCE)


def _check_sample(params: BigEarthNetParams) -> None:
    """Refuse parameters that choose a part of reBEN, of which the sample has no metadata."""
    wrong = [
        name
        for name, as_sample in (
            ("countries", not params.countries),
            ("tiles", not params.tiles),
            ("flagged", params.flagged == "keep"),
            ("classes", params.classes == "level_1"),
        )
        if not as_sample
    ]
    if wrong:
        raise UserError(
            f"sources.bigearthnet.{wrong[0]} is {getattr(params, wrong[0])!r}, which needs reBEN; "
            "set path to fetch or to your folder, or leave it as it is in the sample "
            "(countries: [], tiles: [], flagged: keep, classes: level_1)"
        )


def _write_sample(folder: Path) -> list[Pair]:
    """Write the thirty pairs to `BigEarthNet-S1` and `BigEarthNet-S2` in `folder`."""
    v1 = fetch_wheel(
        "bigearthnet-common",
        "2.8.0",
        "6c2bcf2b1d39a3f48925b0d941557152f9e523576fbb9d2b881a842ed92fd6af",
        folder / "packages",
        size=6843891,
    )
    v2 = fetch_wheel(
        "configilm",
        "0.7.1",
        "54e8c2424c55bb4e68dfda07593e155e9ecfa6c60b50585c4b378076934cf5e3",
        folder / "packages",
        size=55276758,
    )
    # beside the target and renamed at the end, so a killed run leaves no half sample
    with scratch(folder) as work:
        pairs = [*_unpack_geotiffs(v1, work), *_unpack_lmdb(v2, work)]
        for name in ("BigEarthNet-S1", "BigEarthNet-S2"):
            shutil.rmtree(folder / name, ignore_errors=True)
            os.replace(work / name, folder / name)
    return pairs


def describe(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return the manifest; a group is tested on only if all its patches are test patches."""
    groups = neighbours([pair.place for pair in pairs])
    # a group that is trained on anywhere is not tested on: its patches adjoin
    trained = {group for pair, group in zip(pairs, groups, strict=True) if not pair.test}
    rows = []
    for pair, group in zip(pairs, groups, strict=True):
        label = level1_groups(pair.labels)
        s1 = f"BigEarthNet-S1/{pair.s1}/{pair.s1}_{{band}}.tif"
        s2 = f"BigEarthNet-S2/{pair.s2}/{pair.s2}_{{band}}.tif"
        split = "test" if group not in trained else "train" if label else "pretrain"
        rows.append((pair.s2, s1, s2, label, group, split))
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("id", ignore_index=True)


def _unpack_geotiffs(wheel: Path, work: Path) -> Iterator[Pair]:
    """Unpack the 6 pairs of version 1: GeoTIFF files with labels in JSON beside them."""
    test_list = f"{_V1}/test.csv.bz2"
    archives = [f"{_V1}/BigEarthNet-{sensor}-Example.tar.bz2" for sensor in ("S1", "S2")]
    extract(wheel, [*archives, test_list], work)
    tests = set(bz2.decompress((work / test_list).read_bytes()).decode().split())
    for archive in archives:
        extract(work / archive, ["BigEarthNet-*.tif", "BigEarthNet-*.json"], work)
    for sensor in ("S1", "S2"):
        os.replace(work / f"BigEarthNet-{sensor}-Example", work / f"BigEarthNet-{sensor}")
    for path in sorted(work.glob("BigEarthNet-S1/*/*_labels_metadata.json")):
        metadata = json.loads(path.read_text())
        s2 = metadata["corresponding_s2_patch"]
        yield Pair(path.parent.name, s2, tuple(metadata["labels"]), s2 in tests)


def _unpack_lmdb(wheel: Path, work: Path) -> Iterator[Pair]:
    """Write the 24 pairs of version 2, stored as arrays by band under the patch's name."""
    tables = extract(wheel, [f"{_V2}/metadata*.parquet"], work)
    [database] = extract(wheel, [f"{_V2}/BigEarthNet-V2-LMDB/data.mdb"], work)
    with (
        lmdb.open(str(database.parent), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        records = {bytes(key).decode(): bytes(record) for key, record in transaction.cursor()}
    for row in pd.concat([pd.read_parquet(table) for table in tables]).to_dict("records"):
        pair = Pair(row["s1_name"], row["patch_id"], tuple(row["labels"]), row["split"] == "test")
        for sensor, name in (("S1", pair.s1), ("S2", pair.s2)):
            target = work / f"BigEarthNet-{sensor}" / name
            target.mkdir(parents=True)
            for band, values in load(records[name]).items():
                write_band(target / f"{name}_{band}.tif", values, pair.place)
        yield pair


def write_band(path: Path, values: NDArray[np.generic], place: Place) -> None:
    """Write one band, shape (H, W), as a GeoTIFF at (tile, column, row)."""
    tile, column, row = place
    epsg, left, top = _CORNERS[tile]
    height, width = values.shape
    x, y = left + PATCH_METRES * column, top - PATCH_METRES * row
    # derive the pixel from the side, since bands have 10, 20 or 60 m
    transform = rasterio.Affine(PATCH_METRES / width, 0, x, 0, -PATCH_METRES / height, y)
    shape = {"count": 1, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(
        path, "w", "GTiff", crs=f"EPSG:{epsg}", transform=transform, **shape
    ) as file:
        file.write(values, 1)
