"""Maps as cloud-optimised GeoTIFFs: the classes in their colours, and how sure they are.

A TIFF has a colour table only where it has one band, and a viewer shows three bands as red, green
and blue. So the classes are a file of their own, which QGIS opens in the model's palette with the
classes' names, and what is said of them lies in others beside it:

    map.tif                 class: 0 for no data, else 1 + its index
    map.tif.aux.xml         the classes' names, where GDAL looks for them
    map_confidence.tif      probability of that class; entropy over the largest possible, 0 to 1
    map_probabilities.tif   on demand, a band a class

Shares are bytes of 1/250, which GDAL's scale says, and 255 for no data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
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

from eocontrast.mapping.tiles import Tile
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import (
    check_free_disk,
    check_possible,
    refuse_existing,
    whole,
    write_text,
)

STEPS = 250
"""Of a byte between 0 and 1."""


@dataclass(frozen=True)
class Block:
    """A part of a map.

    Attributes:
        place: in pixels of the map.
        probabilities: (C, h, w).
        valid: where there are data, (h, w).
    """

    place: Tile
    probabilities: Tensor
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Layer:
    """One file of a map.

    Attributes:
        suffix: of its name.
        names: of its bands.
        scale: of its bytes.
        nodata: the byte for no data.
        overviews: how GDAL makes them.
        bytes_of: of probabilities (C, h, w), whole numbers (bands, h, w).
    """

    suffix: str
    names: tuple[str, ...]
    scale: float
    nodata: int
    overviews: str
    bytes_of: Callable[[Tensor], Tensor]

    def path(self, out: Path) -> Path:
        """Of the file, where the map is `out`."""
        return out.with_stem(out.stem + self.suffix)


def _classes(probabilities: Tensor) -> Tensor:
    # the same as argmax, in a fifth of its time
    return probabilities.max(0, keepdim=True).indices + 1


def _sureness(exclusive: bool) -> Callable[[Tensor], Tensor]:
    """Confidence, and entropy: of the classes, or the mean over them of there or not."""

    def of(probabilities: Tensor) -> Tensor:
        entropy = torch.special.entr(probabilities)
        if exclusive:
            share = entropy.sum(0) / math.log(max(len(probabilities), 2))
        else:
            share = (entropy + torch.special.entr(1 - probabilities)).mean(0) / math.log(2)
        return _share_bytes(torch.stack([probabilities.amax(0), share]))

    return of


def _share_bytes(shares: Tensor) -> Tensor:
    return (shares.clamp(0, 1) * STEPS).round()


def layers(classes: tuple[str, ...], exclusive: bool, probabilities: bool) -> list[Layer]:
    """The files of a map, the classes last: they are there when all is.

    Args:
        classes: names by index.
        exclusive: whether exactly one class is right.
        probabilities: whether a band a class is wanted.
    """
    shares = (1 / STEPS, 255, "AVERAGE")
    sure = Layer("_confidence", ("confidence", "entropy"), *shares, _sureness(exclusive))
    all_of_them = Layer("_probabilities", classes, *shares, _share_bytes)
    drawn = Layer("", ("class",), 1, 0, "MODE", _classes)
    return [sure, *([all_of_them] if probabilities else []), drawn]


def check_names(out: Path, wanted: Iterable[Layer], overwrite: bool) -> None:
    """The files of a map can be written.

    Raises:
        UserError: `out` is no name of a GeoTIFF, or a file of the map is there.
    """
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UserError(f"{out} is no name of a GeoTIFF: end it in .tif")
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
    """Write blocks as they come, then the files that they make, each of them whole.

    Until then they lie uncompressed in a folder beside `out`, a byte a pixel and band.

    Args:
        out: of the classes; the others' names follow from it.
        grid: of the map.
        wanted: by `layers`.
        colours: `#rrggbb` by class, in the order of the classes.
        tags: of every file.
        blocks: that cover the grid.

    Raises:
        UserError: there is no room for them, or no file can be made there.
    """
    check_possible(out)
    bands = sum(len(layer.names) for layer in wanted)
    # twice: what is copied is there in both forms
    check_free_disk(out.parent, 2 * bands * grid.height * grid.width, "the map")
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
        for block in blocks:
            place = block.place
            window = Window(place.col, place.row, place.width, place.height)
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
        blockxsize=512,
        blockysize=512,
        bigtiff="IF_SAFER",
        photometric="MINISBLACK" if layer.suffix else "PALETTE",
    )
    raster.descriptions = layer.names
    if layer.scale != 1:
        raster.scales = [layer.scale] * len(layer.names)
    return raster


def _colour_table(colours: Mapping[str, str]) -> dict[int, tuple[int, ...]]:
    table: dict[int, tuple[int, ...]] = {0: (0, 0, 0, 0)}
    for value, colour in enumerate(colours.values(), start=1):
        table[value] = (*bytes.fromhex(colour.removeprefix("#")), 255)
    return table


def _write_names(out: Path, colours: Mapping[str, str]) -> None:
    """GDAL's own form; GeoTIFF has no place for them that viewers read."""
    names = "".join(f"<Category>{escape(name)}</Category>" for name in ("no data", *colours))
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    write_text(out.with_name(f"{out.name}.aux.xml"), f"<PAMDataset>{band}</PAMDataset>\n")


def _optimise(draft: Path, out: Path, overviews: str) -> None:
    rasterio.shutil.copy(
        draft,
        out,
        driver="COG",
        compress="DEFLATE",
        overview_resampling=overviews,
        bigtiff="IF_SAFER",
        num_threads="ALL_CPUS",
    )


def described(header: Mapping[str, object], name: str, sha256: str) -> dict[str, str]:
    """Tags that say what made a map: the model's file, and what is in its header."""
    told = {key.upper(): json.dumps(header[key]) for key in ("classes", "inputs")}
    return {"MODEL": name, "MODEL_SHA256": sha256, "TASK": str(header["task"]), **told}
