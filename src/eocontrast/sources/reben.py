"""The full reBEN (BigEarthNet v2): 480,038 pairs, read in place or unpacked once.

    BigEarthNet-S2/<tile>/<patch>/<patch>_B02.tif
    BigEarthNet-S1/<scene>/<patch>/<patch>_VV.tif
    metadata.parquet with patch_id, labels, split and s1_name

The two archives may take the place of the two folders. The name of a tile or scene is that of its
patches without column and row, and without the tile's name for Sentinel-1.

The split is the data set's own: test is `test`; train and validation are `train`, or `pretrain` if
the labels give no class. Adjacent patches form a group within a tile. The split cuts tiles, so a
group ends where the split does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eocontrast.rasters.source import COLUMNS
from eocontrast.runtime.errors import UserError
from eocontrast.sources.bigearthnet_labels import level1_groups
from eocontrast.sources.download.published import Archive, locate_data, manifest_path, unpack_again
from eocontrast.sources.neighbours import Place, neighbours
from eocontrast.sources.rois import LISTED, content, data_folder

METADATA = ("patch_id", "labels", "split", "s1_name")
_S1_NAME = re.compile(r".+_(\w{5})_(\d+)_(\d+)")
SPLITS = {"train": "train", "validation": "train", "test": "test"}

ARCHIVES = [Archive(f"BigEarthNet-{s}.tar.zst", "", 0, f"BigEarthNet-{s}") for s in ("S1", "S2")]
"""The published archives, without digests: zstd has its own checksums."""

ADVICE = (
    "sources.bigearthnet.path in params.yaml names the folder (`sample` for 30 pairs); the "
    "data are at https://bigearth.net"
)


def describe_folder(path: Path, folder: Path) -> pd.DataFrame:
    """Return the manifest of a reBEN folder from its metadata and the names of its folders.

    Args:
        path: the user's folder.
        folder: destination for the user's archives, if there are archives instead of rasters.

    Raises:
        UserError: the layout or the metadata differ from the published ones, or patches are
            missing.
    """
    table = _read_metadata(data_folder(path))
    data = locate_data(path, ARCHIVES, folder)
    _check_layout(data, [archive.holds for archive in ARCHIVES])
    splits = [_split(split) for split in table["split"]]
    groups = neighbours(
        [_place(name, split) for name, split in zip(table["s1_name"], splits, strict=True)]
    )
    for sensor, names in (("S1", table["s1_name"]), ("S2", table["patch_id"])):
        wanted = [_folder(sensor, name) for name in names]
        _check_present(data / f"BigEarthNet-{sensor}", wanted, ADVICE + unpack_again(data, folder))
    rows = []
    for row, split, group in zip(table.to_dict("records"), splits, groups, strict=True):
        name, label = row["patch_id"], _label(row["patch_id"], row["labels"])
        rasters = (_raster("S1", row["s1_name"]), _raster("S2", name))
        paths = (manifest_path(data, raster, folder) for raster in rasters)
        usable = "pretrain" if split == "train" and not label else split
        rows.append((name, *paths, label, group, usable))
    return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("id", ignore_index=True)


def _read_metadata(data: Path) -> pd.DataFrame:
    _check_layout(data, ["metadata.parquet"])
    try:
        return pd.read_parquet(data / "metadata.parquet", columns=list(METADATA))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{data / 'metadata.parquet'} cannot be read as Parquet with the columns "
            f"{', '.join(METADATA)}: {error}; {ADVICE}"
        ) from error


def _check_layout(data: Path, needed: Sequence[str]) -> None:
    missing = [name for name in needed if not (data / name).exists()]
    if missing:
        raise UserError(
            f"looked for {', '.join(needed)} in {data}, {', '.join(missing)} is missing; found "
            f"{content(data)}; {ADVICE}"
        )


def _folder(sensor: str, name: str) -> str:
    """Return the folder of a patch within the folder of its sensor."""
    return f"{name.rsplit('_', 3 if sensor == 'S1' else 2)[0]}/{name}"


def _raster(sensor: str, name: str) -> str:
    """Return the path of a patch, with `{band}` for the band."""
    return f"BigEarthNet-{sensor}/{_folder(sensor, name)}/{name}_{{band}}.tif"


def _place(s1_name: str, split: str) -> Place:
    """Return tile, column and row; each split's part of a tile counts as a tile."""
    match = _S1_NAME.fullmatch(s1_name)
    if not match:
        raise UserError(
            f"metadata.parquet has the s1_name {s1_name!r}, expected one that ends in tile, column "
            f"and row, as _33UUP_26_57; {ADVICE}"
        )
    return f"{split}_{match[1]}", int(match[2]), int(match[3])


def _check_present(folder: Path, wanted: list[str], advice: str) -> None:
    # one listing per tile: half a million look-ups take minutes on a network disk
    tiles = {name.partition("/")[0] for name in wanted}
    present = {
        f"{tile}/{patch.name}"
        for tile in tiles
        if (folder / tile).is_dir()
        for patch in (folder / tile).iterdir()
    }
    missing = [name for name in wanted if name not in present]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(wanted)} patches of metadata.parquet are not in {folder}: "
            f"{', '.join(missing[:LISTED])}; unpack those too, or remove them from the metadata; "
            f"{advice}"
        )


def _split(split: str) -> str:
    if split not in SPLITS:
        raise UserError(f"metadata.parquet has the split {split!r}, expected {', '.join(SPLITS)}")
    return SPLITS[split]


def _label(name: str, labels: list[str]) -> str:
    try:
        return level1_groups(labels)
    except KeyError as error:
        raise UserError(
            f"{name} has the label {error}, which is not one of BigEarthNet's; use the metadata of "
            "version 2"
        ) from None
