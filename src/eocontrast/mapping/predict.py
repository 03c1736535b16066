"""Land-cover maps of whole scenes from fine-tuned models.

A segmenter classifies every pixel, in overlapping tiles that are blended. A classifier classifies
patches as large as those that it was trained on, and each patch becomes one pixel of the map.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from eocontrast.mapping.checks import Resolution
from eocontrast.mapping.geotiff import Block, check_names, model_tags, write_map
from eocontrast.mapping.layers import layers
from eocontrast.mapping.scenes import Image, SceneReader, open_scene
from eocontrast.mapping.tiles import Blend, Tile, Tiling, cut
from eocontrast.mapping.windows import Windows, batches, prefetch, read_windows
from eocontrast.modalities import BY_IMAGE, Sensor
from eocontrast.models.build import load_finetuned
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.model import Model
from eocontrast.models.tasks import Task
from eocontrast.patches.inputs import Batch
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256
from eocontrast.training.devices import accelerator

TILE = 512
"""Largest side of a segmenter's tile: `patches.PIXELS`; larger ones are slower on a CPU."""

SIDE_BY_SIDE = 2
"""Batches in work at a time, each with its share of torch's threads.

Two cores do two tiles 1.1 to 1.4 times as fast as one after the other, and one batch is read while
a GPU works on the other.
"""

MIN_VALID = 0.5
"""Share of a cell's pixels that need data for a class; a cell of one pixel needs its own."""


@dataclass(frozen=True)
class Layout:
    """Division of a scene into the pixels of its map.

    Attributes:
        cell: Side of a map pixel in pixels of the scene.
        tiling: Tiles of these cells.
    """

    cell: int
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
    resolution: Resolution | None = None,
    allow_missing: bool = False,
    known: Callable[[Path], Mapping[str, float]] = lambda _: {},
) -> list[Path]:
    """Write the map of a scene and return its files, the classes first.

    Memory does not grow with the scene except for `overlap` rows of its width: two batches of tiles
    are in work, one waits, and GDAL caches 64 MiB.

    Args:
        file: Fine-tuned model.
        images: One image per sensor. One may be missing if the model has a backbone for each.
        out: Path of the map.
        tile: Side in pixels of a tile, or of a classifier's patch; chosen by the model if None.
        overlap: Pixels that neighbouring tiles share; chosen by the model if None.
        probabilities: Also write one band per class.
        check_scale: Refuse values that are implausible in their units.
        overwrite: Replace existing files.
        resolution: As in `open_scene`.
        allow_missing: Map without a sensor that the model was never trained without.
        known: Finds the test scores of a file by inputs (`all`, `s1`, `s2`), none if it has none.

    Raises:
        UserError: the model or the scene cannot be read, they do not fit, or the map exists.
    """
    model, spec = load_finetuned(file)
    check_sensors(model, images)
    if set(images) != set(model.inputs):
        _check_missing(images, spec, allow_missing, known(file))
    task, classes = spec.learning, spec.classes
    wanted = layers(classes, task.exclusive, probabilities)
    # names first: hours of work should not end at an existing file
    check_names(out, wanted, overwrite)
    colours = {name: spec.palette[name] for name in classes}
    tags = model_tags(spec, file.name, file_sha256(file)) | {"SENSORS": " ".join(images)}
    with open_scene(images, model.inputs, check_scale, resolution) as scene:
        layout = lay_out(model, spec, scene.grid, tile, overlap)
        blocks = predict_blocks(model, task, len(classes), scene, layout, accelerator("auto"))
        # closed before the scene: no thread may read a file that is closed already
        with closing(blocks):
            return write_map(out, scene.grid.coarser(layout.cell), wanted, colours, tags, blocks)


def check_sensors(model: Model, sensors: Collection[Sensor]) -> None:
    """Check that a model can work with images of these sensors.

    Raises:
        UserError: the model does not take one of them, or needs another.
    """
    inputs = " and ".join(model.inputs)
    unknown = [sensor for sensor in sensors if sensor not in model.inputs]
    if unknown:
        raise UserError(f"this model takes {inputs}: leave out --{unknown[0]}")
    if not sensors:
        raise UserError(f"there is no image: this model takes {inputs}")
    missing = [sensor for sensor in model.inputs if sensor not in sensors]
    if missing and len(model.backbones) < 2:
        raise UserError(
            f"this model takes {inputs}, stacked, and cannot do without {missing[0]}: pass "
            f"--{missing[0]}, or take a model with a backbone per sensor (fusion late or scales)"
        )


def _check_missing(
    sensors: Collection[Sensor], spec: FinetunedSpec, allow: bool, known: Mapping[str, float]
) -> None:
    """Say which sensor is missing and what that costs; refuse it if no training was without it.

    Raises:
        UserError: no sample lost a sensor in training, and the user does not allow it.
    """
    missing = " and ".join(sensor for sensor in spec.inputs if sensor not in sensors)
    alone = " and ".join(sensors)
    dropout = spec.modality_dropout
    message = f"no image of {missing}: the model sees its mean everywhere"
    score = f"nothing is known about its score with {alone} alone: no run here scored this file"
    if {"all", alone} <= set(known):
        all_of_it, part = (f"{known[inputs]:.2f}" for inputs in ("all", alone))
        score = f"on its test split the {spec.learning.metric} is {all_of_it} with all sensors, "
        score += f"{part} with {alone} alone"
    if not dropout and not allow:
        raise UserError(
            f"{message}, and no sample of its training was without a sensor (modality_dropout 0); "
            f"{score}. Pass --{missing}, or --allow-missing-sensor to map without it"
        )
    trained = f"{dropout:.0%} of its training samples were without a sensor"
    print(f"warning: {message}; {trained}; {score}", file=sys.stderr)


def lay_out(
    model: Model, spec: FinetunedSpec, grid: Grid, tile: int | None, overlap: int | None
) -> Layout:
    """Choose overlapping tiles of pixels for segmenters, patches side by side for classifiers.

    Tiles begin at multiples of their stride from the origin of the CRS, not at the scene's corner.
    A pixel in two scenes thus lies in the same tile of both, however they were cut.

    Raises:
        UserError: the overlap is more than half a tile, or patches are to overlap.
    """
    trained = max(expected.patch_size for expected in spec.inputs.values())
    if spec.task != "segmentation":
        if overlap:
            raise UserError(f"a map by {spec.head} has patches side by side, no --overlap")
        # patches of another size show the model objects at another scale
        cell = tile or trained
        coarse = grid.coarser(cell)
        return Layout(cell, Tiling(coarse.height, coarse.width, max(1, TILE // cell), 0))
    # an image that its own values or a resize scale: keep the size of training, and blend more
    by_crop = any(of.scaling in BY_IMAGE or of.resize for of in spec.inputs.values())
    side = tile or (trained if by_crop else _unpadded(model.tile_multiple))
    if overlap is None:
        # share 32 of 512 px, which alone leaves 0.87 to 0.89 of the speed (benchmarks/RESULTS.md)
        overlap = side // 2 if by_crop else side // 16
    # the stride, by which neighbouring scenes are aligned
    before = grid.phase(max(side - overlap, 1))
    return Layout(1, Tiling(grid.height, grid.width, side, overlap, before))


def _unpadded(multiple: int) -> int:
    """Return the largest side up to `TILE` that a model cuts into whole windows."""
    # 448 px for a Swin-T's windows of 7: 5.4 s per megapixel on one thread. It pads 512 px at
    # every stage: 5.8 s
    return max(TILE // multiple, 1) * multiple


def predict_blocks(
    model: Model,
    task: Task,
    classes: int,
    scene: SceneReader,
    layout: Layout,
    device: Accelerator,
) -> Generator[Block]:
    """Yield the probabilities of all cells block by block, with a progress bar on a terminal.

    Tiles without valid cells are not predicted: their probabilities are zero and never drawn, and
    neither is the overlap that neighbours share with them.
    """
    model.to(device.device).eval()
    blend = Blend(layout.tiling)

    def predict(tiles: list[Tile]) -> tuple[Windows, Tensor]:
        windows = read_windows(scene, layout.cell, tiles)
        # a swath's edge leaves much of a scene empty
        if (windows.valid >= MIN_VALID).any():
            return windows, _probabilities(model, task, windows.batch, layout.cell, device)
        size, height, width = windows.valid.shape
        return windows, torch.zeros(size, classes, height, width, device=device.device)

    work = prefetch(predict, batches(layout.tiling, layout.cell), SIDE_BY_SIDE)
    with closing(work), tqdm(total=len(layout.tiling), unit="tile", disable=None) as bar:
        for windows, probabilities in work:
            for tile, p_CHW, valid in zip(windows.tiles, probabilities, windows.valid, strict=True):
                final, blended_CHW = blend.add(tile, p_CHW)
                # the rest of the tile is still being blended, and is valid in later blocks
                usable = valid[: final.height, : final.width] >= MIN_VALID
                yield Block(final, blended_CHW, usable)
            bar.update(len(windows.tiles))


def _probabilities(
    model: Model, task: Task, batch: Batch, cell: int, device: Accelerator
) -> Tensor:
    """Return probabilities (B, C, h, w) of the cells of a batch of windows."""
    height, width = (n // cell for n in next(iter(batch.values())).shape[2:])
    if task.name != "segmentation":
        batch = {sensor: cut(stored, cell) for sensor, stored in batch.items()}
    shares = task.predict(model, batch, device.device, device.autocast())
    if shares.ndim == 4:
        return shares
    return shares.view(-1, height, width, shares.shape[1]).movedim(3, 1)
