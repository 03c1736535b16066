"""The sources by name, and what must hold for every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eocontrast.config.schema import Section
from eocontrast.config.sources import SourceName, SourcesParams
from eocontrast.rasters.source import COLUMNS, SPLITS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.sources import bigearthnet, dfc2020, manifest, sen12ms, simulated
from eocontrast.sources.contents import contents
from eocontrast.sources.rois import data_folder

# each takes a folder and the params.yaml entry of its own name
SOURCES: dict[SourceName, Callable[..., Source]] = {
    "simulated": simulated.fetch,
    "bigearthnet": bigearthnet.fetch,
    "sen12ms": sen12ms.fetch,
    "dfc2020": dfc2020.fetch,
    "manifest": manifest.fetch,
}


PUBLISHED = ("sen12ms", "dfc2020")
"""Those that come in archives."""


def fetch_source(
    name: SourceName,
    rasters: Path,
    manifests: Path,
    params: SourcesParams,
    *,
    keep_archives: bool = False,
) -> Source:
    """Put a source's rasters on disk and describe them.

    Args:
        name: as in params.yaml.
        rasters: folder for what the source writes; kept from run to run, so that it may continue.
        manifests: small folder for the manifest, the declaration, and what every raster holds.
        params: of all sources.
        keep_archives: what was fetched stays beside what it unpacked to.

    Raises:
        UserError: no such source, or its data cannot be had or do not fit together.
    """
    if name not in SOURCES:
        raise UserError(f"there is no source {name!r}, only {', '.join(SOURCES)}")
    check_paths({name: rasters}, params)
    rasters.mkdir(parents=True, exist_ok=True)
    options = {"keep_archives": keep_archives} if name in PUBLISHED else {}
    source = SOURCES[name](rasters, getattr(params, name), **options)
    source = replace(source, rasters=rasters, name=name)
    check_manifest(source.manifest)
    manifests.mkdir(parents=True, exist_ok=True)
    source.write(manifests)
    write_text(manifests / "contents.csv", contents(source, rasters).to_csv(index=False))
    return source


def check_paths(folders: Mapping[SourceName, Path], params: SourcesParams) -> None:
    """What the user has of these sources is there: seen before others are fetched for a night.

    Args:
        folders: for what these sources write; what is named within may come with it.
        params: of all sources.

    Raises:
        UserError: names the parameter and the path of one that is not.
    """
    for name, folder in folders.items():
        for key, path in _user_paths(getattr(params, name)):
            place = data_folder(path)
            if not place.exists() and not place.is_relative_to(folder.absolute()):
                raise UserError(
                    f"sources.{name}.{key} in params.yaml names {place}, which is not there: "
                    "name what you have; docs/data.md says where the data are to be had"
                )


def _user_paths(params: Section) -> Iterator[tuple[str, Path]]:
    """Files and folders of the user's that parameters of a source name."""
    for key in ("path", "md5s", "splits"):
        value: object = getattr(params, key, None)
        for path in value.values() if isinstance(value, dict) else (value,):
            if isinstance(path, Path):
                yield key, path


def check_manifest(manifest: pd.DataFrame) -> None:
    """A manifest has its columns, distinct ids, known splits, and groups that are not split.

    Raises:
        UserError: names the column and the value that breaks this.
    """
    missing = [column for column in COLUMNS if column not in manifest]
    if missing:
        raise UserError(f"the manifest lacks {', '.join(missing)}, expected {', '.join(COLUMNS)}")
    if manifest.empty:
        raise UserError("the manifest has no rows, expected one a patch")
    for column in ("id", "s1", "s2", "group"):
        if (manifest[column] == "").any():
            at = manifest.index[manifest[column] == ""][0]
            raise UserError(f"the manifest's column {column} is empty at row {at}")
    twice = manifest.id[manifest.id.duplicated()]
    if len(twice):
        raise UserError(f"the manifest names the id {twice.iloc[0]!r} twice")
    odd = sorted(set(manifest.split) - {*SPLITS, ""})
    if odd:
        raise UserError(f"the manifest has split {odd[0]!r}, expected {', '.join(SPLITS)} or none")
    _check_groups(manifest)


def _check_groups(manifest: pd.DataFrame) -> None:
    """What is scored shares no group with what is learnt from.

    Rows without a split get one later, by whole groups: they cannot join rows that have one.
    """
    for group, splits in manifest.groupby("group")["split"]:
        found = set(splits)
        if len(found) > 1 and not found <= {"pretrain", "train"}:
            names = " and ".join(sorted(split or "none" for split in found))
            raise UserError(
                f"group {group!r} has rows of splits {names}: neighbours would be learnt from and "
                "scored; give the whole group one split"
            )
