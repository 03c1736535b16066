"""Pooled features of backbones, a row a patch, as Parquet; of a scene as GeoParquet 1.1."""

from __future__ import annotations

import json
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from tqdm import tqdm

from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.mapping.tiles import Tile, Tiling, cut
from eocontrast.mapping.windows import Windows, read_ahead
from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Backbone
from eocontrast.models.finetuned import load_finetuned
from eocontrast.models.model import Streams, inputs_of
from eocontrast.models.weights import Pretrained, load_weights
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256, refuse_existing, whole
from eocontrast.training.devices import accelerator

Backbones = dict[str, Backbone]
Columns = dict[str, Any]

READ_AT_ONCE = 512
"""Pixels each way, of which patches are cut."""


def load_backbones(file: Path, sensors: Collection[Sensor]) -> Backbones:
    """Backbones in eval mode, of pretrained weights or of a fine-tuned model, by name.

    Args:
        file: of either kind.
        sensors: that have an image; all that the file's backbones take where empty.

    Raises:
        UserError: the file has no weights, or none for one of these sensors.
    """
    found = _backbones_of(file)
    if not found:
        raise UserError(f"{file} holds no backbones that were trained: take another file")
    sensors = sensors or {sensor for backbone in found.values() for sensor in backbone.inputs}
    chosen = {name: b.eval() for name, b in found.items() if set(b.inputs) <= set(sensors)}
    served = {sensor for backbone in chosen.values() for sensor in backbone.inputs}
    idle = [sensor for sensor in sensors if sensor not in served]
    if idle:
        takes = "; ".join(" and ".join(backbone.inputs) for backbone in found.values())
        raise UserError(f"{file} has no backbone for {' and '.join(idle)} alone, only of: {takes}")
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
) -> int:
    """Write features of a scene's patches, side by side; those without any data are left out.

    The columns: `row` and `col` of a patch's upper left pixel, `valid` (share of its pixels with
    data), features a backbone by its name, and `geometry`, the patch's footprint. Memory does not
    grow with the scene.

    Args:
        file: pretrained weights or a fine-tuned model.
        images: of the scene, one a sensor.
        out: of the table.
        patch: side in pixels; as learnt where None.
        check_scale: refuse values that can hardly be of their units.
        overwrite: replace what is there.

    Returns:
        Number of rows.

    Raises:
        UserError: weights and scene do not suit each other, or cannot be read, or `out` is there.
    """
    refuse_existing(out, overwrite)
    backbones, device = load_backbones(file, list(images)), accelerator("auto")
    inputs = inputs_of(backbones)
    side = patch or max(spec.patch_size for spec in inputs.values())
    with open_scene(images, inputs, check_scale) as scene:
        grid = scene.grid.coarser(side)
        tiling = Tiling(grid.height, grid.width, max(1, READ_AT_ONCE // side), 0)
        bar = tqdm(read_ahead(scene, tiling, side), total=len(tiling), unit="tile", disable=None)
        tables = (_scene_columns(windows, backbones, grid, side, device) for windows in bar)
        kinds = {"row": pa.int32(), "col": pa.int32(), "valid": pa.float32()}
        schema = _schema(kinds, backbones, file)
        geometry = pa.field("geometry", pa.binary())
        schema = schema.append(geometry).with_metadata({**schema.metadata, "geo": _geo(grid)})
        return _write(out, schema, tables)


def embed_store(file: Path, folder: Path, out: Path, overwrite: bool) -> int:
    """Write features of a patch store: `id`, `group`, `split`, `label` and a column a backbone.

    Args:
        file: pretrained weights or a fine-tuned model.
        folder: of the store.
        out: of the table.
        overwrite: replace what is there.

    Returns:
        Number of rows.

    Raises:
        UserError: weights and store do not suit each other, or cannot be read, or `out` is there.
    """
    refuse_existing(out, overwrite)
    store, device = PatchStore(folder), accelerator("auto")
    backbones = load_backbones(file, ())
    inputs = inputs_of(backbones)
    kinds = {name: pa.string() for name in ("id", "group", "split", "label")}
    chunks = list(store.chunks(np.arange(len(store.index))))

    def tables() -> Iterator[Columns]:
        for rows in tqdm(chunks, unit="batch", disable=None):
            told = store.index.iloc[rows]
            names = [store.classes[k] if k >= 0 else None for k in told["label"]]
            columns = {name: told[name].tolist() for name in ("id", "group", "split")}
            yield (
                columns | {"label": names} | _features(store.batch(rows, inputs), backbones, device)
            )

    return _write(out, _schema(kinds, backbones, file), tables())


@torch.no_grad()
def _features(batch: Batch, backbones: Backbones, device: Accelerator) -> Columns:
    """Features of (n, bands, H, W), a list of n a backbone."""
    on_device = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
    with device.autocast():
        found: Streams = {
            name: backbone.to(device.device)(on_device) for name, backbone in backbones.items()
        }
    return {name: list(features.float().cpu().numpy()) for name, features in found.items()}


def _scene_columns(
    windows: Windows, backbones: Backbones, grid: Grid, side: int, device: Accelerator
) -> Columns:
    cells = [
        Tile(tile.row + row, tile.col + col, 1, 1)
        for tile in windows.tiles
        for row in range(tile.height)
        for col in range(tile.width)
    ]
    valid = windows.valid.ravel()
    kept = np.flatnonzero(valid > 0)
    cells = [cells[place] for place in kept]
    patches = {sensor: cut(stored, side)[kept] for sensor, stored in windows.batch.items()}
    return {
        "row": [cell.row * side for cell in cells],
        "col": [cell.col * side for cell in cells],
        "valid": valid[kept],
        **_features(patches, backbones, device),
        "geometry": [_footprint(grid, cell) for cell in cells],
    }


def _footprint(grid: Grid, cell: Tile) -> bytes:
    """Well-known binary of a cell's polygon: little-endian, type 3, one ring of five points."""
    ring = [(0, 0), (0, 1), (1, 1), (1, 0), (0, 0)]
    corners = [grid.transform @ (cell.col + right, cell.row + down) for right, down in ring]
    return struct.pack("<BIII10d", 1, 3, 1, 5, *(n for corner in corners for n in corner))


def _geo(grid: Grid) -> str:
    """GeoParquet 1.1's metadata; a CRS of null is one that is not known."""
    crs = grid.crs.to_dict(projjson=True) if grid.crs else None
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": crs}
    told = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return json.dumps(told)


def _schema(kinds: Mapping[str, Any], backbones: Backbones, file: Path) -> pa.Schema:
    features = {name: pa.list_(pa.float32(), b.num_features) for name, b in backbones.items()}
    inputs = {sensor: spec.to_dict() for sensor, spec in inputs_of(backbones).items()}
    told = {"weights": file.name, "sha256": file_sha256(file), "inputs": inputs}
    return pa.schema({**kinds, **features}, metadata={"eocontrast": json.dumps(told)})


def _write(out: Path, schema: pa.Schema, tables: Iterable[Columns]) -> int:
    """A row group a table; returns the number of rows."""
    rows = 0
    with whole(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for columns in tables:
            table = pa.table(columns, schema=schema)
            writer.write_table(table)
            rows += len(table)
    return rows
