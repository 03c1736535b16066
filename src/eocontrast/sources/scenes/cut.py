"""Scenes cut into patches on one grid, with a manifest of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window
from tqdm import tqdm

from eocontrast.modalities import Modality, Sensor
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.source import COLUMNS
from eocontrast.rasters.values import missing_pixels
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, whole, write_text
from eocontrast.sources.labels.burn import NOTHING
from eocontrast.sources.scenes.blocks import block_side, choose_tested, gap_between, near
from eocontrast.sources.scenes.inspect import SceneImage

MIN_VALID = 0.5
"""Share of a patch's pixels that need data of both sensors."""

Draw = Callable[[Grid], tuple[NDArray[np.integer], NDArray[np.integer]]]
"""Return the class index and the number of the polygon of each pixel of a grid, -1 for none."""


@dataclass(frozen=True)
class Cutting:
    """Size and number of patches.

    Attributes:
        side: Side of a patch in pixels.
        block: Side of a block in patches; about 40 blocks if None.
        patches: Most patches without labels; they serve pretraining alone.
        test_fraction: Share of the labels to test on.
        seed: Seed of the division, and of which unlabelled patches are cut.
    """

    side: int
    block: int | None
    patches: int
    test_fraction: float
    seed: int


@dataclass
class Plan:
    """The split of every patch of a scene.

    Attributes:
        grid: Grid of the scene.
        shape: Rows and columns of patches.
        block: Side of a block in patches.
        split: `train`, `test`, `pretrain` or empty for a patch that is not cut, by row and column.
        groups: Name of each patch's block.
        amounts: Labelled pixels of each class in training and in test blocks, (2, classes).
        between: Patches left out between training and test.
    """

    grid: Grid
    shape: tuple[int, int]
    block: int
    split: NDArray[np.object_]
    groups: NDArray[np.object_]
    amounts: NDArray[np.integer]
    between: int
    empty: int = field(default=0)


def plan_patches(grid: Grid, draw: Draw, classes: int, cutting: Cutting) -> Plan:
    """Divide a scene into blocks to train on and to test on.

    No patch of training touches a patch that is tested on: those between are left out. A polygon
    counts in the block that holds most of it.

    Raises:
        UserError: the scene is smaller than a patch, or labels lie in fewer than two blocks.
    """
    rows, cols = grid.height // cutting.side, grid.width // cutting.side
    if not rows or not cols:
        raise UserError(
            f"the scene has {grid.height} x {grid.width} pixels, fewer than a patch of "
            f"{cutting.side} x {cutting.side}; choose a smaller --patch-size"
        )
    block = cutting.block or block_side(rows, cols)
    row_of, col_of = np.divmod(np.arange(rows * cols), cols)
    # numbers of blocks, counted row by row
    blocks = (row_of // block) * -(-cols // block) + col_of // block
    held = _labels(grid, draw, classes, cutting.side, rows, cols, blocks)
    by_block = np.zeros((blocks.max() + 1, classes))
    np.add.at(by_block, blocks, held)
    gap = gap_between(held, blocks, (rows, cols))
    tested = choose_tested(by_block, cutting.test_fraction, cutting.seed, gap)[blocks]
    labelled = held.sum(1) > 0
    on_test = tested & labelled
    beside = near(on_test.reshape(rows, cols)).ravel() & ~on_test
    split = np.full(rows * cols, "", dtype=object)
    split[on_test] = "test"
    # a block is trained on or tested on, so the unlabelled rest of a test block is not used
    free = ~tested & ~beside
    split[free & labelled] = "train"
    spare = np.flatnonzero(free & ~labelled)
    chosen = np.random.default_rng(cutting.seed).permutation(spare)[: cutting.patches]
    split[chosen] = "pretrain"
    amounts = np.stack([held[split == part].sum(0) for part in ("train", "test")])
    named = [f"block_{number:04d}" for number in range(blocks.max() + 1)]
    return Plan(
        grid,
        (rows, cols),
        block,
        split.reshape(rows, cols),
        np.array(named, dtype=object)[blocks].reshape(rows, cols),
        amounts,
        int((beside & ~tested & labelled).sum()),
    )


def _labels(
    grid: Grid,
    draw: Draw,
    classes: int,
    side: int,
    rows: int,
    cols: int,
    blocks: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Return the labelled pixels of each class in each patch, (patches, classes).

    Pixels of a polygon outside its own block do not count.
    """
    parts: list[tuple[int, NDArray[Any], NDArray[Any]]] = []
    pixels: dict[int, dict[int, int]] = {}
    for patch in range(rows * cols):
        indices, numbers = draw(window_grid(grid, side, *divmod(patch, cols)))
        held = indices != NOTHING
        if not held.any():
            continue
        pairs, counts = np.unique(
            np.stack([numbers[held], indices[held]]), axis=1, return_counts=True
        )
        parts.append((patch, pairs, counts))
        for number, count in zip(pairs[0].tolist(), counts.tolist(), strict=True):
            in_blocks = pixels.setdefault(number, {})
            block = int(blocks[patch])
            in_blocks[block] = in_blocks.get(block, 0) + count
    # a polygon on a border would otherwise be trained on and tested on
    homes = {number: max(found, key=lambda b: found[b]) for number, found in pixels.items()}
    amounts = np.zeros((rows * cols, classes), np.int64)
    for patch, (numbers, indices), counts in parts:
        # a raster has no polygons: each of its pixels is its own, and is at home where it lies
        home = [n == NOTHING or homes[n] == blocks[patch] for n in numbers.tolist()]
        np.add.at(amounts[patch], indices[home], counts[home])
    return amounts


def window_grid(grid: Grid, side: int, row: int, col: int) -> Grid:
    """Return the grid of one patch."""
    corner = grid.transform @ (col * side, row * side)
    transform = rasterio.Affine(
        grid.transform.a, grid.transform.b, corner[0], grid.transform.d, grid.transform.e, corner[1]
    )
    return Grid(grid.crs, transform, side, side)


def cut_scene(images: dict[Sensor, SceneImage], plan: Plan, side: int, out: Path) -> pd.DataFrame:
    """Write the patches of a plan and their manifest; patches without data are left out.

    Returns:
        The manifest with paths relative to `out`.

    Raises:
        UserError: a file is damaged, or no patch has data of both sensors.
    """
    chosen = [(int(r), int(c)) for r, c in np.argwhere(plan.split != "")]
    out.mkdir(parents=True, exist_ok=True)
    bands = sum(len(image.modality.bands) for image in images.values())
    # 4 bytes a value: float32, the larger of the two types that are written
    check_free_disk(out, len(chosen) * bands * side**2 * 4, "the patches")
    rows = list(_cut(images, plan, side, out, chosen))
    if not rows:
        raise UserError("no patch has data of both sensors; do the two images overlap?")
    plan.empty = len(chosen) - len(rows)
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text(out / "manifest.csv", manifest.to_csv(index=False))
    return manifest


def _cut(
    images: dict[Sensor, SceneImage],
    plan: Plan,
    side: int,
    out: Path,
    chosen: list[tuple[int, int]],
) -> Iterator[tuple[str, str, str, str, str, str]]:
    for sensor in images:
        (out / sensor).mkdir(exist_ok=True)
    with ExitStack() as stack:
        opened = {s: image.open(stack).on_grid(plan.grid) for s, image in images.items()}
        for row, col in tqdm(chosen, "cut", unit="patch", leave=False, disable=None):
            window = Window(col * side, row * side, side, side)
            values = {sensor: image.read(window) for sensor, image in opened.items()}
            missing = np.logical_or.reduce([missing_pixels(held) for held in values.values()])
            if 1 - missing.mean() < MIN_VALID:
                continue
            name = f"r{row:04d}_c{col:04d}"
            for sensor, held in values.items():
                path = out / sensor / f"{name}.tif"
                grid = window_grid(plan.grid, side, row, col)
                write_patch(path, held, images[sensor].modality, grid)
            paths = [f"{sensor}/{name}.tif" for sensor in ("s1", "s2")]
            yield name, paths[0], paths[1], "", plan.groups[row, col], plan.split[row, col]


def write_patch(path: Path, values: NDArray[Any], modality: Modality, grid: Grid) -> None:
    """Write bands of a patch with their names: integers for digital numbers, else float32."""
    if modality.units == "DN":
        missing = missing_pixels(values)
        held = np.where(missing, 0, values)  # 0 in all bands is how products say no data
        values = np.rint(held).clip(0, 65535).astype(np.uint16)
    else:
        values = values.astype(np.float32)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    nodata = None if modality.units == "DN" else np.nan
    place = {"crs": grid.crs, "transform": grid.transform, "nodata": nodata}
    with (
        whole(path) as partial,
        rasterio.open(partial, "w", driver="GTiff", **shape, **place) as file,
    ):
        file.write(values)
        file.descriptions = modality.bands
