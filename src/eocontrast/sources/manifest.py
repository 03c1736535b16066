"""The user's own pairs: a table that names them, checked before a pixel is read.

The rasters are used where they are. The table is a CSV or Parquet file with one row a patch and
the columns `id, s1, s2, label` and, if wanted, `group, split`; paths are relative to its folder.
Without a group each patch counts as its own: only the user knows which are neighbours.
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
    """Check the user's table and the headers of every raster that it names; copies nothing.

    Raises:
        UserError: names the manifest, the row as a spreadsheet counts it, the id, the column, what
            was seen and what was expected.
    """
    source = describe(params)
    _check_rasters(source.manifest, params)
    return source


def describe(params: ManifestParams) -> Source:
    """Check the user's table without opening a raster; all its paths become absolute.

    Raises:
        UserError: as `fetch` does.
    """
    classes = dict(params.classes)
    if len(set(classes.values())) != len(classes):
        raise UserError(f"sources.manifest.classes gives two classes one value: {classes}")
    table = read_table(params.path)
    check_table(params.path, table)
    for sensor in ("s1", "s2"):
        table[sensor] = _absolute(params.path, table, sensor)
    table["label"] = _label_paths(params.path, table, classes)
    _check_shared(params.path, table)
    sensors = (params.s1.modality(), params.s2.modality())
    return Source(*sensors, classes, palette(classes), table, licence="known to who made them")


def palette(classes: dict[str, int]) -> dict[str, str]:
    """A colour a class: ten or twenty distinct hues, beyond that a rainbow."""
    many = len(classes)
    name = "tab10" if many <= 10 else "tab20" if many <= 20 else "turbo"
    colours = colormaps[name].resampled(many) if many > 20 else colormaps[name]
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
    """The absolute path that a cell means."""
    if "://" in cell or cell.startswith("/vsi"):
        raise UserError(f"{cell} is not a file on this machine's disks; download it first")
    return str((path.parent / cell).absolute())


def _label_paths(path: Path, table: pd.DataFrame, classes: dict[str, int]) -> list[str]:
    """Class names (several joined by `|`) and empty labels as they are, masks as full paths."""
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
    """A raster that two rows name lies in one group: else it could be learnt from and scored."""
    for column in ("s1", "s2"):
        seen: dict[str, tuple[Hashable, str]] = {}
        rows = zip(table.index, table.id, table[column], table.group, strict=True)
        for row, name, raster, group in rows:
            other, found = seen.setdefault(raster, (row, group))
            if found != group:
                with located(path, row, name, column):
                    raise UserError(
                        f"row {other} names {raster} too, but is of group {found!r}, this row of "
                        f"{group!r}; rows that share a raster need one group"
                    )


def _check_rasters(table: pd.DataFrame, params: ManifestParams) -> None:
    """Every raster opens, has the declared bands, and the size of the first row's."""
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


def _check_size(found: tuple[int, int], s2: tuple[int, int]) -> None:
    if found != s2:
        raise UserError(f"{_pixels(found)}, but s2 is {_pixels(s2)}; resample it to the grid of s2")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
