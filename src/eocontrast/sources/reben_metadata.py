"""The patches of reBEN by its metadata: which to use, and where they lie."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet

from eocontrast.config.sources import BigEarthNetParams
from eocontrast.runtime.errors import UserError
from eocontrast.sources.neighbours import Place

METADATA = "metadata.parquet"
"""Table of the 480,038 patches of the official split."""

FLAGGED = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
"""Table of the other patches, which no mirror need have."""

# train on validation patches: `val_fraction` takes its own out of the labels (docs/evaluation.md)
SPLITS = {"train": "train", "validation": "train", "test": "test"}

ADVICE = (
    "sources.bigearthnet.path in params.yaml names the folder (`sample` for 30 "
    "pairs); the data are at https://bigearth.net"
)

_NEEDED = ("patch_id", "labels", "split", "s1_name")
_FLAGS = ("contains_seasonal_snow", "contains_cloud_or_shadow")
_S1_NAME = re.compile(r".+_(\w{5})_(\d+)_(\d+)")


def read_metadata(data: Path, params: BigEarthNetParams) -> pd.DataFrame:
    """Return the chosen patches: the published columns and `flagged`, of type bool.

    Args:
        data: folder of the metadata.
        params: countries, tiles, and what to do with flagged patches.

    Raises:
        UserError: the metadata differ from the published ones, or name no such patch.
    """
    files = [data / METADATA]
    if params.flagged != "leave_out" and (data / FLAGGED).exists():
        files.append(data / FLAGGED)
    table = pd.concat([_read(file) for file in files], ignore_index=True)
    unknown = sorted(set(table["split"]) - set(SPLITS))
    if unknown:
        raise UserError(f"{METADATA} has the split {unknown[0]!r}, expected {', '.join(SPLITS)}")
    table = _chosen(table, "country", params.countries)
    table["tile"] = [place(name)[0] for name in table["s1_name"]]
    table = _chosen(table, "tile", params.tiles)
    return _by_flags(table, params.flagged)


def place(s1_name: str) -> Place:
    """Return tile, column and row, which end the names of Sentinel-1.

    Raises:
        UserError: the name ends otherwise.
    """
    match = _S1_NAME.fullmatch(s1_name)
    if not match:
        raise UserError(
            f"{METADATA} has the s1_name {s1_name!r}, expected one that ends in tile, column "
            f"and row, as _33UUP_26_57; {ADVICE}"
        )
    return match[1], int(match[2]), int(match[3])


def _read(path: Path) -> pd.DataFrame:
    try:
        present = pyarrow.parquet.read_schema(path).names
        # the other columns of half a million rows are never used
        wanted = [name for name in (*_NEEDED, "country", *_FLAGS) if name in present]
        table = pd.read_parquet(path, columns=wanted)
        return table[[*_NEEDED, *wanted[len(_NEEDED) :]]]
    except (OSError, ValueError, LookupError) as error:
        raise UserError(
            f"{path} cannot be read as Parquet with the columns {', '.join(_NEEDED)}: {error}; "
            f"{ADVICE}"
        ) from error


def _chosen(table: pd.DataFrame, column: str, wanted: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows with one of the wanted values; all rows if none is wanted."""
    if not wanted:
        return table
    present = set(table[column]) if column in table else set[str]()
    unknown = [name for name in wanted if name not in present]
    if unknown:
        found = sorted(present)
        more = f" and {len(found) - 12} more" if len(found) > 12 else ""
        raise UserError(
            f"no patch of {METADATA} has the {column} {', '.join(unknown)} (sources.bigearthnet); "
            f"found {', '.join(found[:12]) or 'no such column'}{more}"
        )
    return table[table[column].isin(wanted)].reset_index(drop=True)


def _by_flags(table: pd.DataFrame, flagged: str) -> pd.DataFrame:
    missing = [name for name in _FLAGS if name not in table]
    if missing and flagged != "keep":
        raise UserError(
            f"sources.bigearthnet.flagged is {flagged}, but {METADATA} has no column "
            f"{', '.join(missing)}; use the metadata of version 2, or set it to keep"
        )
    flags = [table[name].eq(True) for name in _FLAGS if name in table]
    table = table.assign(flagged=pd.concat(flags, axis=1).any(axis=1) if flags else False)
    count, patches = int(table["flagged"].sum()), len(table)
    if count:
        what = {"keep": "kept", "pretrain": "unlabelled, or left out of test"}
        print(
            f"{count} of {patches} patches show snow, clouds or shadows: "
            f"{what.get(flagged, 'left out')} (sources.bigearthnet.flagged)",
            file=sys.stderr,
        )
    # neighbours of test patches are not trained on, with or without labels
    out = table["flagged"] & (table["split"].eq("test") | (flagged == "leave_out"))
    if flagged != "keep":
        table = table[~out].reset_index(drop=True)
    if table.empty:
        raise UserError(f"{METADATA} has {patches} patches, all left out; change flagged")
    return table
