"""The user's own pairs: read and validate the user's manifest before reading any pixel.

Rasters are read in place. The manifest is a CSV or Parquet file with one row per patch and the
columns `id, s1, s2, label` and optionally `group, split`. Paths are relative to its folder. Without
a group, each patch is its own: only the user knows which patches are neighbours.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex
from tqdm import tqdm

from eocontrast.config.sources import ManifestParams
from eocontrast.labels import SEPARATOR, named_classes
from eocontrast.modalities import Sensor
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.masks import mask_size
from eocontrast.rasters.open import RasterError, open_raster
from eocontrast.rasters.products import raster_files
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import Source
from eocontrast.rasters.values import Declared
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import in_project
from eocontrast.sources.manifest_table import check_table, located, read_table
from eocontrast.sources.overlaps import Footprint, merge_groups, sharing_place


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
    if params.find_overlaps:
        table["group"] = _group_by_ground(params.path, table, params.s2.bands)
    sensors = (params.s1.modality(), params.s2.modality())
    files: dict[Sensor, Declared] = {"s1": params.s1.files(), "s2": params.s2.files()}
    return Source(
        *sensors, classes, palette(classes), table,
        licence="unspecified", files=files, masks=params.masks,
    )  # fmt: skip


def _group_by_ground(path: Path, table: pd.DataFrame, bands: Sequence[str]) -> list[str]:
    """Return the groups after joining those of patches whose rasters say that they share ground.

    Raises:
        UserError: a test patch shares ground with one that is trained on.
    """
    sharers = sharing_place([_place(raster, bands) for raster in table.s2])
    splits, rows, names = list(table.split), list(table.index), list(table.id)
    leaking = {
        (test, other)
        for patches in sharers
        for test in patches
        for other in patches
        if splits[test] == "test" and splits[other] in ("train", "pretrain")
    }
    if leaking:
        test, other = min(leaking)
        raise UserError(
            f"{path}: {len(dict(leaking))} of {splits.count('test')} test patches "
            f"share ground with a patch that is trained on, such as row {rows[test]} "
            f"({names[test]!r}) with row {rows[other]} ({names[other]!r}). Give neighbours one "
            "split, or set sources.manifest.find_overlaps to false"
        )
    groups = merge_groups(list(table.group), sharers)
    before, after = table.group.nunique(), len(set(groups))
    if after < before:
        print(f"{path}: {before} groups share ground and become {after}", file=sys.stderr)
    return groups


def _place(raster: str, bands: Sequence[str]) -> Footprint:
    """Return where a raster lies by its header; nowhere if it cannot be read, as others report."""
    try:
        with open_raster(raster_files(raster, bands)[0]) as file:
            grid = Grid.of(file)
    except RasterError:
        return Footprint(frozenset())
    if grid.crs is None or not grid.located:
        return Footprint(frozenset())
    return Footprint(frozenset(), grid.crs.to_string(), grid.bounds)


def palette(classes: dict[str, int]) -> dict[str, str]:
    """Return a colour per class: distinct hues for up to 20 classes, a rainbow beyond that."""
    count = len(classes)
    # matplotlib's tables of distinct hues have 10 and 20 colours
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
    """Return the absolute path that a cell names, in the project rather than in a copy of it."""
    try:
        uri = urlsplit(cell)
    except ValueError as error:
        raise UserError(f"{cell} is no path of a file: {error}") from error
    if uri.scheme == "file" and uri.netloc in ("", "localhost"):
        cell = unquote(uri.path)
    if "://" in cell or cell.startswith("/vsi"):
        raise UserError(f"{cell} is not a file on this machine's disks; download it first")
    return str(in_project((path.parent / cell).absolute()))


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
                raise UserError(
                    f"{cell!r} is neither a raster that exists nor a class of params.yaml; "
                    f"{_meant(cell, classes)}"
                )
    return labels


def _meant(cell: str, classes: dict[str, int]) -> str:
    """Return what the user may have meant by a label that is no class."""
    # 1.0 is how a column of numbers with gaps is written
    value = {str(value): label for label, value in classes.items()}.get(cell.removesuffix(".0"))
    if value:
        return f"{cell} is the value of {value!r} in masks, so write that name"
    # lists as Python, NumPy and JSON print them, and other separators than the one of this table
    names = [name for name in re.split(r"[\[\](){},;|'\"\t]+", cell) if name.strip()]
    known = {name.casefold(): name for name in classes}
    several = [known.get(name.strip().casefold()) for name in names]
    if several and None not in several:
        return f"write {SEPARATOR.join(filter(None, several))!r}"
    near = difflib.get_close_matches(cell, classes, n=1, cutoff=0)[0]
    return f"the closest class is {near!r}"


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
            size = bands_size(second, s2, params.s2.files())
            if size[0] != size[1]:
                raise UserError(f"{_pixels(size)}, expected a square; cut it by `eocontrast start`")
            # a store holds arrays of one shape
            if size != (expected := expected or size):
                raise UserError(f"{_pixels(size)}, but the first row's are {_pixels(expected)}")
        with located(path, row, name, "s1"):
            _check_size(bands_size(first, s1, params.s1.files()), expected)
        if label and named_classes(label, [*params.classes]) is None:
            with located(path, row, name, "label"):
                _check_size(mask_size(Path(label), params.classes, params.masks), expected)


def _check_size(size: tuple[int, int], s2: tuple[int, int]) -> None:
    if size != s2:
        raise UserError(f"{_pixels(size)}, but s2 is {_pixels(s2)}; resample it to the grid of s2")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"
