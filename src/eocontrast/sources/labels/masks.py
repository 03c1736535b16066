"""One mask per patch, cut from the file of labels that a source names."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from tqdm import tqdm

from eocontrast.config.labels import LabelsParams
from eocontrast.rasters.grids import Grid, finest
from eocontrast.rasters.image import open_image
from eocontrast.rasters.mask_values import count_values, explain
from eocontrast.rasters.source import SHAPES, Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole
from eocontrast.sources.labels.burn import NOTHING, Burner
from eocontrast.sources.labels.vectors import SUFFIXES as VECTORS
from eocontrast.sources.labels.vectors import Vectors, read_vectors
from eocontrast.sources.labels.warp import SUFFIXES as RASTERS
from eocontrast.sources.labels.warp import LabelRaster
from eocontrast.sources.manifest import palette

Row = dict[str, Any]
Draw = Callable[[Row, Grid], tuple[NDArray[np.integer], NDArray[np.integer]]]
"""Return the class value and the number of the shape of each pixel of a patch, -1 for none."""

FOLDER = "labels"
"""Folder of the masks within that of the source's rasters."""

VOID = 65535
"""Largest value of a mask of 16 bits, which means no data unless it is a class."""


def place_labels(source: Source, rasters: Path, params: LabelsParams) -> Source:
    """Return the source with a mask for each patch that the file of labels covers.

    Pixels without a label are ignored, not background. A polygon labels pixels of one group alone,
    the one that holds most of it, so that no polygon is both trained on and tested on.

    Args:
        source: Source whose patches have no labels; `classes` may be empty for a vector file.
        rasters: Folder for the masks.
        params: File and class column. A vector file without features leaves the source as it is.

    Raises:
        UserError: the file cannot be used, covers no patch, or patches have labels already.
    """
    if params.path.suffix.lower() in RASTERS:
        _check_unlabelled(source, params.path)
        return _from_raster(source, rasters, LabelRaster(params.path, source.classes))
    if params.path.suffix.lower() not in VECTORS:
        raise UserError(
            f"{params.path} is no file of labels; expected a vector file ({', '.join(VECTORS)}) "
            f"or a raster ({', '.join(RASTERS)})"
        )
    vectors = read_vectors(params.path, params.class_column, source.classes)
    if vectors is None:
        return source
    _check_unlabelled(source, params.path)
    return _from_vectors(source, rasters, vectors)


def _from_vectors(source: Source, rasters: Path, vectors: Vectors) -> Source:
    # values begin at 1, since 0 is what most viewers show as transparent
    classes = source.classes or {name: value for value, name in enumerate(vectors.names, start=1)}
    source = replace(source, classes=classes, palette={**palette(classes), **vectors.colours})
    burner = Burner(vectors)
    homes, shared = _homes(source, rasters, burner)
    if not (homes != "").any():
        raise UserError(_elsewhere(source, rasters, vectors))
    print(
        f"{vectors.path}: {(homes != '').sum()} of {len(homes)} {vectors.kind} label pixels; "
        f"{shared} of them cross groups, and count in the group that holds most of each"
    )
    values = np.array([classes[name] for name in vectors.names])[vectors.classes]

    def draw(row: Row, grid: Grid) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        drawn = burner.draw(grid)
        counts = (drawn >= 0) & (homes[drawn] == row["group"])
        return np.where(counts, values[drawn], NOTHING), np.where(counts, drawn, NOTHING)

    return _with_masks(source, rasters, draw)


def _homes(source: Source, rasters: Path, burner: Burner) -> tuple[NDArray[np.object_], int]:
    """Return the group with most pixels of each geometry, and how many lie in several groups."""
    pixels: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row, grid in _grids(source, rasters):
        drawn, counts = np.unique(burner.draw(grid), return_counts=True)
        for number, count in zip(drawn.tolist(), counts.tolist(), strict=True):
            pixels[number][row["group"]] += count
    pixels.pop(NOTHING, None)
    homes = np.full(len(burner.vectors.classes), "", dtype=object)
    for number, groups in pixels.items():
        homes[number] = max(groups, key=lambda group: groups[group])
    return homes, sum(len(groups) > 1 for groups in pixels.values())


def _from_raster(source: Source, rasters: Path, labels: LabelRaster) -> Source:
    if not source.classes:
        raise UserError(
            f"{labels.path} holds class values without names; name them in `classes`, as "
            "`Forest: 1`"
        )

    def draw(_: Row, grid: Grid) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        # values without a class stay, so that the audit lists them
        drawn = labels.draw(grid)
        held = np.where((drawn >= 0) & (drawn <= VOID), drawn, NOTHING)
        return held, np.full_like(held, NOTHING)

    colours = {name: labels.colours.get(value) for name, value in source.classes.items()}
    given = {name: colour for name, colour in colours.items() if colour}
    return _with_masks(replace(source, palette={**source.palette, **given}), rasters, draw)


def _check_unlabelled(source: Source, path: Path) -> None:
    labelled = source.manifest.id[source.manifest.label != ""]
    if len(labelled):
        raise UserError(
            f"{len(labelled)} patches, such as {labelled.iloc[0]}, have a label in the manifest, "
            f"and {path} would label them too; empty the column, or name no file of labels"
        )


def _grids(source: Source, rasters: Path) -> Iterator[tuple[Row, Grid]]:
    """Yield each row of the manifest with the grid of its Sentinel-2 image."""
    rows: list[Any] = source.manifest.to_dict("records")
    for row in tqdm(rows, "labels", unit="patch", leave=False, disable=None):
        s2 = source.s2
        with open_image(rasters / row["s2"], s2.bands, s2.units, s2.bands) as image:
            grid = finest(image.grids)
        if not grid.located:
            raise UserError(
                f"{row['s2']} does not say where it lies, so labels cannot be placed; give it a "
                "CRS and a transform, or label patches in the manifest"
            )
        yield row, grid


def _elsewhere(source: Source, rasters: Path, vectors: Vectors) -> str:
    _, grid = next(_grids(source, rasters))
    bounds = ", ".join(f"{x:.6g}" for x in vectors.geometry.total_bounds)
    patch = ", ".join(f"{x:.6g}" for x in grid.bounds)
    return (
        f"{vectors.path} labels no pixel of any patch: it spans {bounds} in "
        f"{vectors.geometry.crs.to_string()}, the first patch {patch} in {grid.crs}; is the CRS of "
        "both right?"
    )


def _with_masks(source: Source, rasters: Path, draw: Draw) -> Source:
    """Write the masks and return the source with their paths, and the shapes of each patch.

    Raises:
        UserError: there are fewer than two classes in them.
    """
    values = [*source.classes.values()]
    # from the top: small values are those that a later class would take
    unused = next(value for value in range(VOID, 0, -1) if value not in values)
    # masks of patches that other labels no longer cover must not stay
    shutil.rmtree(rasters / FOLDER, ignore_errors=True)
    labels, shapes, held = [], [], Counter[int]()
    for row, grid in _grids(source, rasters):
        mask, numbers = draw(row, grid)
        labelled = np.isin(mask, values)
        shapes.append(" ".join(map(str, np.unique(numbers[numbers != NOTHING]).tolist())))
        held.update(count_values(mask))
        name = f"{FOLDER}/{row['id']}.tif" if labelled.any() else ""
        labels.append(name)
        if name:
            write_mask(rasters / name, np.where(mask == NOTHING, unused, mask), grid, unused)
    names = [name for name, value in source.classes.items() if value in held]
    if len(names) < 2:
        others = {value: count for value, count in held.items() if value not in values}
        shown = ", ".join(map(str, sorted(others)[:5]))
        looks = explain(others, held, source.classes)
        beside = f" (beside values without a class: {shown}{looks and '; ' + looks})"
        raise UserError(
            f"the patches hold labels of {names[0] if names else 'no class'} alone"
            f"{beside if others else ''}; expected two classes or more: label more ground, choose "
            "patches where other classes lie, or correct `classes`"
        )
    manifest = source.manifest.assign(label=labels)
    return replace(
        source, manifest=manifest.assign(**{SHAPES: shapes}) if any(shapes) else manifest
    )


def write_mask(path: Path, mask: NDArray[Any], grid: Grid, nodata: int) -> None:
    """Write class values as a GeoTIFF, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # take 16 bits: CORINE's codes go up to 523
    shape = {"count": 1, "height": grid.height, "width": grid.width, "dtype": "uint16"}
    place = {"crs": grid.crs, "transform": grid.transform, "nodata": nodata}
    with (
        whole(path) as partial,
        rasterio.open(partial, "w", driver="GTiff", compress="deflate", **shape, **place) as file,
    ):
        file.write(mask.astype(np.uint16), 1)
