"""Maps as cloud-optimised GeoTIFFs: the classes in their colours, and their confidence.

Only a TIFF with one band has a colour table, and viewers show three bands as red, green and blue.
The classes are therefore a file of their own, which QGIS opens in the model's palette with the
names of the classes. Their confidence lies in other files beside it:

    map.tif                 class: 0 for no data, else 1 + its index
    map.tif.aux.xml         names of the classes, where GDAL looks for them
    map_confidence.tif      probability of that class; entropy as a share of its maximum
    map_probabilities.tif   on demand, one band per class

Probabilities and entropy are bytes in steps of 1/250 (the scale in the header), 255 for no data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from eocontrast.mapping.layers import Layer
from eocontrast.mapping.tiles import Tile
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import (
    check_free_disk,
    check_possible,
    refuse_existing,
    whole,
    write_text,
)


@dataclass(frozen=True)
class Block:
    """A part of a map.

    Attributes:
        tile: Position in pixels of the map.
        probabilities: Probabilities (C, h, w).
        valid: Pixels with data, (h, w).
    """

    tile: Tile
    probabilities: Tensor
    valid: NDArray[np.bool_]


def check_names(out: Path, wanted: Iterable[Layer], overwrite: bool) -> None:
    """Check that the files of a map can be written.

    Raises:
        UserError: `out` is not the name of a GeoTIFF, or a file of the map exists.
    """
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UserError(f"{out} is not the name of a GeoTIFF: end it in .tif")
    for layer in wanted:
        refuse_existing(layer.path(out), overwrite)


def write_map(
    out: Path,
    grid: Grid,
    wanted: list[Layer],
    colours: Mapping[str, str],
    tags: Mapping[str, str],
    blocks: Iterable[Block],
) -> list[Path]:
    """Write blocks as they come and turn them into complete files at the end.

    Until then they lie uncompressed in a folder beside `out`, one byte per pixel and band.

    Args:
        out: Path of the classes; the other names follow from it.
        grid: Grid of the map.
        wanted: Files to write, from `layers`.
        colours: `#rrggbb` by class, in the order of the classes.
        tags: Tags of every file.
        blocks: Blocks that cover the grid.

    Raises:
        UserError: the disk has no room for them, or no file can be made there.
    """
    check_possible(out)
    bands = sum(len(layer.names) for layer in wanted)
    # twice: while a file is optimised it is there in both forms
    check_free_disk(out.parent, 2 * bands * grid.height * grid.width, "the map")
    # beside `out`, because the files move into place within one file system
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.") as folder:
        drafts = [Path(folder, f"{number}.tif") for number in range(len(wanted))]
        _draft(drafts, grid, wanted, colours, tags, blocks)
        for layer, draft in zip(wanted, drafts, strict=True):
            if not layer.suffix:
                _write_names(out, colours)
            with whole(layer.path(out)) as partial:
                _optimise(draft, partial, layer.overviews)
    return [layer.path(out) for layer in reversed(wanted)]


def _draft(
    drafts: list[Path],
    grid: Grid,
    wanted: list[Layer],
    colours: Mapping[str, str],
    tags: Mapping[str, str],
    blocks: Iterable[Block],
) -> None:
    with ExitStack() as stack:
        rasters = [_create(path, grid, layer) for path, layer in zip(drafts, wanted, strict=True)]
        for raster, layer in zip(rasters, wanted, strict=True):
            stack.enter_context(raster)
            raster.update_tags(**tags)
            if not layer.suffix:
                raster.write_colormap(1, _colour_table(colours))
        # all files in one pass, so that every tile is predicted once
        for block in blocks:
            tile = block.tile
            window = Window(tile.col, tile.row, tile.width, tile.height)
            for raster, layer in zip(rasters, wanted, strict=True):
                values = layer.bytes_of(block.probabilities).to(torch.uint8).cpu().numpy()
                raster.write(np.where(block.valid, values, layer.nodata), window=window)


def _create(path: Path, grid: Grid, layer: Layer) -> rasterio.io.DatasetWriter:
    raster = rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype="uint8",
        count=len(layer.names),
        height=grid.height,
        width=grid.width,
        crs=grid.crs,
        transform=grid.transform,
        nodata=layer.nodata,
        tiled=True,
        # block by 512, as GDAL's COG driver does by default
        blockxsize=512,
        blockysize=512,
        # a plain TIFF cannot address more than 4 GiB
        bigtiff="IF_SAFER",
        photometric="MINISBLACK" if layer.suffix else "PALETTE",
    )
    raster.descriptions = layer.names
    if layer.scale != 1:
        raster.scales = [layer.scale] * len(layer.names)
    return raster


def _colour_table(colours: Mapping[str, str]) -> dict[int, tuple[int, ...]]:
    # 0 is no data: transparent
    table: dict[int, tuple[int, ...]] = {0: (0, 0, 0, 0)}
    for value, colour in enumerate(colours.values(), start=1):
        table[value] = (*bytes.fromhex(colour.removeprefix("#")), 255)
    return table


def _write_names(out: Path, colours: Mapping[str, str]) -> None:
    """Write the names of the classes in GDAL's sidecar; viewers read none in a GeoTIFF."""
    names = "".join(f"<Category>{escape(name)}</Category>" for name in ("no data", *colours))
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    write_text(out.with_name(f"{out.name}.aux.xml"), f"<PAMDataset>{band}</PAMDataset>\n")


def _optimise(draft: Path, out: Path, overviews: str) -> None:
    # a COG begins with its overviews, so it can only be written when all pixels are known
    rasterio.shutil.copy(
        draft,
        out,
        driver="COG",
        # keep the default level: by level 1 classes grow by 29 % (benchmarks/RESULTS.md)
        compress="DEFLATE",
        overview_resampling=overviews,
        bigtiff="IF_SAFER",
        num_threads="ALL_CPUS",  # to compress: results are the same
    )


def model_tags(spec: FinetunedSpec, name: str, sha256: str) -> dict[str, str]:
    """Return the tags of a map: the model's file and the main fields of its header."""
    header = spec.to_dict()
    fields = {key.upper(): json.dumps(header[key]) for key in ("classes", "inputs")}
    return {"MODEL": name, "MODEL_SHA256": sha256, "TASK": spec.task, **fields}
