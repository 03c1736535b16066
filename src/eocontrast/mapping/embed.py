"""Pooled features of backbones as tables: one row per patch of a scene or a patch store."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import geopandas
import numpy as np
import pandas as pd
import shapely
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from tqdm import tqdm

from eocontrast.mapping.checks import Resolution
from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.mapping.tiles import Tiling, cut
from eocontrast.mapping.windows import Windows, batches, prefetch, read_windows
from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Backbone
from eocontrast.models.build import load_finetuned
from eocontrast.models.model import inputs_of
from eocontrast.models.weight_files import load_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.agreement import compare_ground
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256, refuse_existing, whole
from eocontrast.training.devices import accelerator

Backbones = dict[str, Backbone]
Columns = dict[str, Any]

READ_AT_ONCE = 512
"""Side in pixels of the windows from which patches are cut."""


def load_backbones(file: Path, sensors: Collection[Sensor]) -> Backbones:
    """Load the trained backbones of a weight file in eval mode, by name; print which are left out.

    Args:
        file: Pretrained weights or a fine-tuned model.
        sensors: Sensors with an image; all that the backbones take if empty.

    Raises:
        UserError: the file has no trained backbones, or none for one of these sensors.
    """
    backbones = _backbones_of(file)
    if not backbones:
        raise UserError(f"{file} holds no trained backbones: take another file")
    # a backbone for stacked sensors needs all of them, one per sensor only its own
    sensors = sensors or set(inputs_of(backbones))
    chosen = {name: b.eval() for name, b in backbones.items() if set(b.inputs) <= set(sensors)}
    served = {sensor for backbone in chosen.values() for sensor in backbone.inputs}
    idle = [sensor for sensor in sensors if sensor not in served]
    if idle:
        inputs = "; ".join(" and ".join(backbone.inputs) for backbone in backbones.values())
        raise UserError(
            f"{file} has no backbone for {' and '.join(idle)} alone, only for: {inputs}"
        )
    for name in backbones.keys() - chosen.keys():
        absent = " and ".join(s for s in backbones[name].inputs if s not in sensors)
        print(f"note: no image of {absent}: the table has no column {name}", file=sys.stderr)
    return chosen


def _backbones_of(file: Path) -> Backbones:
    if "classes" in load_weights(file)[1]:
        model, _ = load_finetuned(file)
        return cast(Backbones, dict(model.backbones.items()))
    pretrained = Pretrained.load(file)
    return {sensor: pretrained.backbone(sensor) for sensor in pretrained.trained}


def embed_scene(
    file: Path,
    images: Mapping[Sensor, Image],
    out: Path,
    patch: int | None,
    check_scale: bool,
    overwrite: bool,
    resolution: Resolution | None = None,
) -> int:
    """Write features of a scene's patches, side by side, as GeoParquet.

    The columns are `row` and `col` of a patch's upper left pixel, `valid` (share of its pixels with
    data), the features of each backbone under its name, and `geometry`, the patch's footprint.
    Patches without any data are left out. The whole table is held in memory: 2.3 GiB for a
    Sentinel-2 tile in patches of 32 px with two Swin-T, 0.2 GiB in patches of 120 px.

    Args:
        file: Pretrained weights or a fine-tuned model.
        images: One image per sensor.
        out: Path of the table.
        patch: Side of a patch in pixels; that of the training patches if None.
        check_scale: Refuse values that are implausible in their units.
        overwrite: Replace an existing table.
        resolution: As in `open_scene`.

    Returns:
        Number of rows.

    Raises:
        UserError: weights and scene do not fit or cannot be read, or `out` exists.
    """
    refuse_existing(out, overwrite)
    backbones, device = load_backbones(file, list(images)), accelerator("auto")
    inputs = inputs_of(backbones)
    side = patch or max(spec.patch_size for spec in inputs.values())
    with open_scene(images, inputs, check_scale, resolution) as scene:
        grid = scene.grid.coarser(side)
        tiling = Tiling(grid.height, grid.width, max(1, READ_AT_ONCE // side), 0)
        work = prefetch(partial(read_windows, scene, side), batches(tiling, side), 1)
        with closing(work), tqdm(total=len(tiling), unit="tile", disable=None) as bar:
            parts = []
            for windows in work:
                parts.append(_scene_columns(windows, backbones, side, device))
                bar.update(len(windows.tiles))
    columns = _joined(parts)
    geometry = _footprints(grid, columns["row"] // side, columns["col"] // side)
    crs = grid.crs.to_wkt() if grid.crs else None
    frame = geopandas.GeoDataFrame(columns, geometry=geometry, crs=crs)
    return _write(out, frame, file, backbones)


def embed_store(file: Path, folder: Path, out: Path, overwrite: bool) -> int:
    """Write features of a patch store: `id`, `group`, `split`, `label` and one column per backbone.

    Args:
        file: Pretrained weights or a fine-tuned model.
        folder: Folder of the store.
        out: Path of the table.
        overwrite: Replace an existing table.

    Returns:
        Number of rows.

    Raises:
        UserError: weights and store do not fit or cannot be read, or `out` exists.
    """
    refuse_existing(out, overwrite)
    store, device = PatchStore(folder), accelerator("auto")
    backbones = load_backbones(file, ())
    inputs = inputs_of(backbones)
    compare_ground(file.name, inputs, store.specs)
    chunks = list(store.chunks(np.arange(len(store.index))))
    features = _joined(
        _features(store.batch(rows, inputs), backbones, device)
        for rows in tqdm(chunks, unit="batch", disable=None)
    )
    index = store.index[["id", "group", "split"]].reset_index(drop=True)
    # by name: indices mean nothing without the store
    labels = [store.classes[k] if k >= 0 else None for k in store.index["label"]]
    frame = index.assign(label=pd.array(labels, dtype="string"), **features)
    return _write(out, frame, file, backbones)


@torch.no_grad()
def _features(batch: Batch, backbones: Backbones, device: Accelerator) -> Columns:
    """Return the features (n, width) of each backbone for a batch (n, bands, H, W) per sensor."""
    on_device = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
    with device.autocast():
        streams = {
            name: backbone.to(device.device)(on_device) for name, backbone in backbones.items()
        }
    # convert first: NumPy has no bfloat16
    return {name: features.float().cpu().numpy() for name, features in streams.items()}


def _scene_columns(
    windows: Windows, backbones: Backbones, side: int, device: Accelerator
) -> Columns:
    """Return the columns for those patches of some windows that hold data."""
    _, height, width = windows.valid.shape
    corners = np.array([(tile.row, tile.col) for tile in windows.tiles])[:, :, None, None]
    # (2, B, h, w): row and column of every patch
    position = corners.swapaxes(0, 1) + np.mgrid[:height, :width][:, None]
    # a patch without any pixel has no features worth a row
    kept = np.flatnonzero(windows.valid > 0)
    rows, cols = side * position.reshape(2, -1)[:, kept].astype(np.int32)
    patches = {sensor: cut(stored, side)[kept] for sensor, stored in windows.batch.items()}
    return {
        "row": rows,
        "col": cols,
        "valid": windows.valid.ravel()[kept].astype(np.float32),
        **_features(patches, backbones, device),
    }


def _joined(parts: Iterable[Columns]) -> Columns:
    """Join the columns of all parts; a column of vectors becomes a list of rows."""
    parts = list(parts)
    columns = {name: [part[name] for part in parts] for name in parts[0]}
    return {
        name: np.concatenate(values)
        if values[0].ndim == 1
        else [row for value in values for row in value]
        for name, values in columns.items()
    }


def _footprints(grid: Grid, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[Any]:
    """Return the polygons of a grid's pixels."""
    ring = np.array([(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)])
    # by the transform, so that rotated and south-up grids get their true outlines
    x, y = grid.transform @ (cols[:, None] + ring[:, 0], rows[:, None] + ring[:, 1])
    polygons: NDArray[Any] = shapely.polygons(np.stack([x, y], -1))
    return polygons


def _write(out: Path, frame: pd.DataFrame, file: Path, backbones: Backbones) -> int:
    """Write the table with its origin in `attrs`; return the number of rows."""
    inputs = {sensor: spec.to_dict() for sensor, spec in inputs_of(backbones).items()}
    frame.attrs = {"weights": file.name, "sha256": file_sha256(file), "inputs": inputs}
    with whole(out) as partial:
        frame.to_parquet(partial, index=False, compression="zstd")
    return len(frame)
