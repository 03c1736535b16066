"""Masks of the 19 classes, written from reBEN's reference maps of CORINE codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rasterio
from tqdm import tqdm

from eocontrast.rasters.open import RasterError, open_raster
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole
from eocontrast.runtime.parallel import parallel_map
from eocontrast.sources.bigearthnet_classes import nineteen_classes


def write_masks(maps: Sequence[Path], masks: Sequence[Path]) -> None:
    """Write a mask for each map unless it exists; a killed run continues.

    Args:
        maps: rasters of CORINE codes.
        masks: rasters to write, on the same grids.

    Raises:
        UserError: a map cannot be read, or the disk is full.
    """
    calls = [(source, mask) for source, mask in zip(maps, masks, strict=True) if not mask.exists()]
    # threads: reading and writing release the interpreter's lock
    done = parallel_map(_write_mask, calls, kind="threads")
    for _ in tqdm(done, "masks", len(calls), unit="patch", leave=False, delay=1, disable=None):
        pass


def _write_mask(source: Path, mask: Path) -> None:
    try:
        with open_raster(source) as raster:
            codes, profile = raster.read(1), raster.profile
    except (RasterError, rasterio.errors.RasterioError) as error:
        raise UserError(f"{source} cannot be read ({error}); unpack it again") from error
    place = {"crs": profile["crs"], "transform": profile["transform"]}
    size = {"width": profile["width"], "height": profile["height"]}
    with (
        whole(mask) as partial,
        rasterio.open(
            partial, "w", "GTiff", count=1, dtype="uint8", compress="deflate", **size, **place
        ) as file,
    ):
        file.write(nineteen_classes(codes), 1)
