"""The user's own pairs: read and validate the user's manifest before reading any pixel.

Rasters are read in place. The manifest is a CSV or Parquet file with one row per patch and the
columns `id, s1, s2, label` and optionally `group, split`. Paths are relative to its folder. Without
a group, each patch is its own: only the user knows which patches are neighbours.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable
from pathlib import Path

import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from tqdm import tqdm

from eocontrast.config.sources import ManifestParams
from eocontrast.labels import named_classes
from eocontrast.rasters.masks import mask_size
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.manifest_table import check_table, located, read_table


def fetch(folder: Path, params: ManifestParams) -> Source:
    """Check the user's manifest and the header of every raster in it; nothing is copied.

    Raises:
        UserError: names the manifest, the row (as spreadsheets count), the id and the column.
    """
    source = describe(params)
    _check_rasters(source.manifest, params)
    return source


def describe(params: ManifestParams) -> Source:
    """Check the user's manifest without opening a raster, and make all paths absolute.

    Raises:
        UserError: as in `fetch`.
    """
    classes = dict(params.classes)
    if len(set(classes.values())) != len(classes):
        raise UserError(
            f"sources.manifest.classes gives two classes one value: {classes}; use distinct values"
        )
    table = read_table(params.path)
    check_table(params.path, table)
    for sensor in ("s1", "s2"):
        table[sensor] = _absolute(params.path, table, sensor)
    table["label"] = _label_paths(params.path, table, classes)
    _check_shared(params.path, table)
    sensors = (params.s1.modality(), params.s2.modality())
    return Source(*sensors, classes, palette(classes), table, licence="unspecified")


def palette(classes: dict[str, int]) -> dict[str, str]:
    """Return a colour per class: distinct hues for up to 20 classes, a rainbow beyond that."""
    count = len(classes)
    name = "tab10" if count <= 10 else "tab20" if count <= 20 else "turbo"
    colours = colormaps[name].resampled(count) if count > 20 else colormaps[name]
    return {label: to_hex(colours(index)) for index, label in enumerate(classes)}


def _absolute(path: Path, table: pd.DataFrame, column: str) -> list[str]:
    paths = []
    for row, name, cell in zip(table.index, table.id, table[column], strict=True):
        with located(path, row, name, column):
            if not cell:
                raise UserError("empty, expected the path of a raster")
            paths.append(_on_disk(path, cell))
    return paths


def _on_disk(path: Path, cell: str) -> str:
    """Return the absolute path that a cell names."""
    if "://" in cell or cell.startswith("/vsi"):
        raise UserError(f"{cell} is not a file on this machine's disks; download it first")
    return str((path.parent / cell).absolute())


def _label_paths(path: Path, table: pd.DataFrame, classes: dict[str, int]) -> list[str]:
    """Return labels with masks as absolute paths; class names and empty labels do not change."""
    labels = []
    for row, name, cell in zip(table.index, table.id, table.label, strict=True):
        with located(path, row, name, "label"):
            if cell and not classes:
                raise UserError(f"{cell!r}, but sources.manifest.classes names no class")
            mask = cell and named_classes(cell, [*classes]) is None
            labels.append(_on_disk(path, cell) if mask else cell)
            if mask and not Path(labels[-1]).exists():
                near = difflib.get_close_matches(cell, classes, n=1, cutoff=0)
                raise UserError(
                    f"{cell!r} is neither a raster that exists nor a class of params.yaml; the "
                    f"closest class is {near[0]!r}"
                )
    return labels


def _check_shared(path: Path, table: pd.DataFrame) -> None:
    """Check that rows with a common raster have one group, as test rasters are not trained on."""
    for column in ("s1", "s2"):
        seen: dict[str, tuple[Hashable, str]] = {}
        rows = zip(table.index, table.id, table[column], table.group, strict=True)
        for row, name, raster, group in rows:
            first_row, first_group = seen.setdefault(raster, (row, group))
            if first_group != group:
                with located(path, row, name, column):
                    raise UserError(
                        f"row {first_row} also names {raster}, but is in group {first_group!r}, "
                        f"this row in {group!r}; rows that share a raster need one group"
                    )


def _check_rasters(table: pd.DataFrame, params: ManifestParams) -> None:
    """Check that every raster opens, has the declared bands and the size of the first row's."""
    path, s1, s2 = params.path, params.s1.modality(), params.s2.modality()
    expected: tuple[int, int] | None = None
    rows = zip(table.index, table.id, table.s1, table.s2, table.label, strict=True)
    for row, name, first, second, label in tqdm(rows, "checking", len(table), disable=None):
        with located(path, row, name, "s2"):
            size = bands_size(second, s2)
            if size != (expected := expected or size):
                raise UserError(f"{_pixels(size)}, but the first row's are {_pixels(expected)}")
        with located(path, row, name, "s1"):
            _check_size(bands_size(first, s1), expected)
        if label and named_classes(label, [*params.classes]) is None:
            with located(path, row, name, "label"):
                _check_size(mask_size(Path(label)), expected)


def _check_size(size: tuple[int, int], s2: tuple[int, int]) -> None:
    if size != s2:
        raise UserError(f"{_pixels(size)}, but s2 is {_pixels(s2)}; resample it to the grid of s2")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
