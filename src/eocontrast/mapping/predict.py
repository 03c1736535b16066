"""What a fine-tuned model says of a whole scene, as a map.

Segmenters say the class of every pixel, in overlapping tiles that are blended. Classifiers say it
of patches as large as they learnt from: a pixel of their map is a patch.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from eocontrast.mapping.ahead import ahead
from eocontrast.mapping.geotiff import Block, check_names, described, layers, write_map
from eocontrast.mapping.scenes import Image, SceneReader, open_scene
from eocontrast.mapping.tiles import Blend, Tile, Tiling, cut
from eocontrast.mapping.windows import Windows, batches, read
from eocontrast.modalities import Sensor
from eocontrast.models.finetuned import load_finetuned
from eocontrast.models.model import Model
from eocontrast.models.tasks import TASKS, Task
from eocontrast.patches.inputs import Batch
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256
from eocontrast.training.devices import accelerator

TILE = 512
"""Most of a segmenter's tile along a side: `patches.PIXELS`, which a CPU does faster than more."""

SIDE_BY_SIDE = 2
"""Batches that are read and answered at a time, each with its share of torch's threads: two cores
do two tiles 1.1 to 1.4 times as fast as one after the other, and one reads while a GPU works."""

MIN_VALID = 0.5
"""Share of a patch's pixels that need data for a class; a pixel needs its own."""


@dataclass(frozen=True)
class Cells:
    """How a scene is cut up: `side` pixels of it are one of the map, in tiles of these."""

    side: int
    tiling: Tiling


def map_scene(
    file: Path,
    images: Mapping[Sensor, Image],
    out: Path,
    tile: int | None,
    overlap: int | None,
    probabilities: bool,
    check_scale: bool,
    overwrite: bool,
) -> list[Path]:
    """Write the map of a scene; returns the files, that of the classes first.

    Memory does not grow with the scene, but for `overlap` rows of its width: two batches of tiles
    are in the model, one more waits for it or for its place in the map, and GDAL caches 64 MiB.

    Args:
        file: a fine-tuned model.
        images: of the scene; a sensor may lack where the model has a backbone for each.
        out: of the map.
        tile: side of a tile in pixels, for classifiers of a patch; by the model where None.
        overlap: pixels that tiles share; by the model where None.
        probabilities: whether to write a band a class besides.
        check_scale: refuse values that can hardly be of their units.
        overwrite: replace what is there.

    Raises:
        UserError: the model or the scene cannot be read or do not suit each other, or the map is
            there.
    """
    model, header = load_finetuned(file)
    refuse_sensors(model, images)
    task, classes = TASKS[header["task"]], tuple(header["classes"])
    wanted = layers(classes, task.exclusive, probabilities)
    check_names(out, wanted, overwrite)
    colours = {name: header["palette"][name] for name in classes}
    tags = described(header, file.name, file_sha256(file))
    with open_scene(images, model.inputs, check_scale) as scene:
        cells = cells_of(model, header, scene.grid, tile, overlap)
        said = say(model, task, len(classes), scene, cells, accelerator("auto"))
        with closing(said) as blocks:
            return write_map(out, scene.grid.coarser(cells.side), wanted, colours, tags, blocks)


def refuse_sensors(model: Model, given: Collection[Sensor]) -> None:
    """A model with a backbone a sensor does with one of them; others need all, and none takes more.

    Raises:
        UserError: images of these sensors do not suit the model.
    """
    takes = " and ".join(model.inputs)
    unknown = [sensor for sensor in given if sensor not in model.inputs]
    if unknown:
        raise UserError(f"this model takes {takes}: leave out --{unknown[0]}")
    if not given:
        raise UserError(f"there is no image: this model takes {takes}")
    missing = [sensor for sensor in model.inputs if sensor not in given]
    if missing and len(model.backbones) < 2:
        raise UserError(
            f"this model takes {takes}, stacked, and cannot do without {missing[0]}: give "
            f"--{missing[0]}, or take a model with a backbone a sensor (fusion late or scales)"
        )


def cells_of(
    model: Model, header: dict[str, Any], grid: Grid, tile: int | None, overlap: int | None
) -> Cells:
    """Pixels in overlapping tiles for segmenters, patches side by side for classifiers.

    Tiles begin at multiples of their stride from the origin of the coordinates, not at the scene's
    corner: a pixel that two scenes share is seen in one tile, whatever they were cut to.

    Where every crop is divided by its maximum, tiles are of the size that was learnt from and share
    half of it: each has a scale of its own.

    Raises:
        UserError: the overlap is more than half a tile, or there is one of patches.
    """
    learnt = max(spec.patch_size for spec in model.inputs.values())
    if header["task"] != "segmentation":
        if overlap:
            raise UserError(f"a map by {header['head']} has patches side by side, no --overlap")
        side = tile or learnt
        coarse = grid.coarser(side)
        return Cells(side, Tiling(coarse.height, coarse.width, max(1, TILE // side), 0))
    by_crop = any(spec.scaling == "crop_maximum" for spec in model.inputs.values())
    side = tile or (learnt if by_crop else _unpadded(model.tile_multiple))
    if overlap is None:
        overlap = side // 2 if by_crop else side // 16
    before = grid.phase(max(side - overlap, 1))
    return Cells(1, Tiling(grid.height, grid.width, side, overlap, before))


def _unpadded(multiple: int) -> int:
    """A tile that a model cuts into whole windows.

    448 px for the windows of 7 of a Swin-T, 5.4 s a megapixel on one thread; 512 px, which it pads
    at every stage, 5.8 s.
    """
    return max(TILE // multiple, 1) * multiple


def say(
    model: Model, task: Task, classes: int, scene: SceneReader, cells: Cells, device: Accelerator
) -> Generator[Block]:
    """Probabilities of all cells, block by block, with a progress bar where there is a terminal.

    Zeros where the model need not be asked: a swath's edge leaves much of a scene without data, and
    what a tile of such pixels says is drawn nowhere, for what neighbours share of it has none too.
    """
    model.to(device.device).eval()
    blend = Blend(cells.tiling)

    def answered(tiles: list[Tile]) -> tuple[Windows, Tensor]:
        windows = read(scene, cells.side, tiles)
        if (windows.valid >= MIN_VALID).any():
            return windows, _answers(model, task, windows.batch, cells.side, device)
        size, height, width = windows.valid.shape
        return windows, torch.zeros(size, classes, height, width, device=device.device)

    work = ahead(answered, batches(cells.tiling, cells.side), SIDE_BY_SIDE)
    with closing(work), tqdm(total=len(cells.tiling), unit="tile", disable=None) as bar:
        for windows, answers in work:
            for tile, answer, valid in zip(windows.tiles, answers, windows.valid, strict=True):
                place, final = blend.add(tile, answer)
                yield Block(place, final, valid[: place.height, : place.width] >= MIN_VALID)
            bar.update(len(windows.tiles))


@torch.no_grad()
def _answers(model: Model, task: Task, batch: Batch, side: int, device: Accelerator) -> Tensor:
    """Probabilities (B, C, h, w) of the cells of a batch of windows."""
    height, width = (n // side for n in next(iter(batch.values())).shape[2:])
    pixels = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
    if task.name != "segmentation":
        pixels = {sensor: cut(stored, side) for sensor, stored in pixels.items()}
    with device.autocast():
        logits = model(pixels)
    found = task.probabilities(logits.float())
    return found if found.ndim == 4 else found.view(-1, height, width, found.shape[1]).movedim(3, 1)
