"""All sources by name, and the checks that each of their manifests must pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from eocontrast.config.catalogues import StacParams
from eocontrast.config.labels import LabelsParams
from eocontrast.config.schema import Section
from eocontrast.config.sources import SourceName, SourcesParams, SSL4EOParams
from eocontrast.rasters.source import COLUMNS, SPLITS, Source
from eocontrast.runtime.errors import UserError, missing_package
from eocontrast.runtime.files import write_text
from eocontrast.sources import bigearthnet, dfc2020, manifest, ombria, sen12ms, simulated
from eocontrast.sources.contents import contents
from eocontrast.sources.rois import data_folder


def _fetch_stac(folder: Path, params: StacParams) -> Source:
    try:
        from eocontrast.sources import stac
    except ImportError as error:
        raise needs_extra(error) from error
    return stac.fetch(folder, params)


def _fetch_ssl4eo(folder: Path, params: SSL4EOParams, *, keep_archives: bool) -> Source:
    try:
        from eocontrast.sources import ssl4eo
    except ImportError as error:
        raise needs_extra(error, "ssl4eo") from error
    return ssl4eo.fetch(folder, params, keep_archives=keep_archives)


def needs_extra(error: ImportError, source: SourceName = "stac") -> UserError:
    """Return the message for a package of an optional source that is not installed."""
    return missing_package(f"the source {source}", str(error.name), source)


# each function takes a folder and the source's section of params.yaml
SOURCES: dict[SourceName, Callable[..., Source]] = {
    "simulated": simulated.fetch,
    "bigearthnet": bigearthnet.fetch,
    "sen12ms": sen12ms.fetch,
    "ssl4eo": _fetch_ssl4eo,
    "dfc2020": dfc2020.fetch,
    "ombria": ombria.fetch,
    "manifest": manifest.fetch,
    "stac": _fetch_stac,
}


PUBLISHED = ("bigearthnet", "sen12ms", "ssl4eo", "dfc2020", "ombria")
"""Sources that are downloaded as archives."""


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
        name: the source's name in params.yaml.
        rasters: folder for the source's files, kept between runs.
        manifests: folder for the manifest, the declaration and the table of contents.
        params: parameters of all sources.
        keep_archives: whether downloaded archives stay on disk.

    Raises:
        UserError: the source is unknown, or its data cannot be downloaded or are inconsistent.
    """
    if name not in SOURCES:
        raise UserError(f"unknown source {name!r}, expected one of {', '.join(SOURCES)}")
    check_paths({name: rasters}, params)
    rasters.mkdir(parents=True, exist_ok=True)
    options = {"keep_archives": keep_archives} if name in PUBLISHED else {}
    source = SOURCES[name](rasters, getattr(params, name), **options)
    source = _labelled(source, rasters, getattr(getattr(params, name), "labels", None))
    source = replace(source, rasters=rasters, name=name)
    check_manifest(source.manifest)
    manifests.mkdir(parents=True, exist_ok=True)
    source.write(manifests)
    for report in rasters.glob("report.*"):  # what a source could not find, to be tracked too
        shutil.copy(report, manifests)
    write_text(manifests / "contents.csv", contents(source, rasters).to_csv(index=False))
    return source


def _labelled(source: Source, rasters: Path, params: LabelsParams | None) -> Source:
    """Return the source with the labels of the file that its parameters name, if any."""
    if params is None:
        return source
    # geopandas takes a second to import, and most sources bring their labels
    from eocontrast.sources.labels.masks import place_labels

    return place_labels(source, rasters, params)


def check_paths(folders: Mapping[SourceName, Path], params: SourcesParams) -> None:
    """Check that the user's files exist, before a long download of another source.

    Args:
        folders: folders of the sources; paths inside them may come with a download.
        params: parameters of all sources.

    Raises:
        UserError: names the parameter and the missing path.
    """
    for name, folder in folders.items():
        for key, path in _user_paths(getattr(params, name)):
            path = data_folder(path)
            if not path.exists() and not path.is_relative_to(folder.absolute()):
                raise UserError(
                    f"sources.{name}.{key} in params.yaml names {path}, which does not exist; "
                    "docs/data.md lists where to get the data"
                )


def _user_paths(params: Section) -> Iterator[tuple[str, Path]]:
    """Yield the user's files and folders in the parameters of a source, with their keys."""
    for key in ("path", "md5s", "splits", "area"):
        value: object = getattr(params, key, None)
        for path in value.values() if isinstance(value, dict) else (value,):
            if isinstance(path, Path):
                yield key, path


def check_manifest(manifest: pd.DataFrame) -> None:
    """Check columns, ids and splits of a manifest, and that no group is split.

    Raises:
        UserError: names the column and the wrong value.
    """
    missing = [column for column in COLUMNS if column not in manifest]
    if missing:
        raise UserError(
            f"the manifest has no column {', '.join(missing)}, expected {', '.join(COLUMNS)}"
        )
    if manifest.empty:
        raise UserError("the manifest has no rows, expected one per patch")
    for column in ("id", "s1", "s2", "group"):
        if (manifest[column] == "").any():
            at = manifest.index[manifest[column] == ""][0]
            raise UserError(f"the manifest's column {column} is empty at row {at}")
    repeated = manifest.id[manifest.id.duplicated()]
    if len(repeated):
        raise UserError(f"the manifest has the id {repeated.iloc[0]!r} twice")
    unknown = sorted(set(manifest.split) - {*SPLITS, ""})
    if unknown:
        raise UserError(
            f"the manifest has split {unknown[0]!r}, expected {', '.join(SPLITS)} or none"
        )
    _check_groups(manifest)


def _check_groups(manifest: pd.DataFrame) -> None:
    """Check that no group is both trained on and tested on.

    Rows without a split get one later by whole groups, so their groups cannot have split rows.
    """
    for group, splits in manifest.groupby("group")["split"]:
        unique = set(splits)
        # training and pretraining may share a group: neither is tested on
        if len(unique) > 1 and not unique <= {"pretrain", "train"}:
            names = " and ".join(sorted(split or "none" for split in unique))
            raise UserError(
                f"group {group!r} has the splits {names}: neighbours would be trained on and "
                "tested on; give the whole group one split"
            )
