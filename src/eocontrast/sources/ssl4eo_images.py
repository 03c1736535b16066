"""GeoTIFF files of the images in a shard of SSL4EO-S12 v1.1.

The shards hold two traps, which the publisher names (github.com/DLR-MF-DAS/SSL4EO-S12-v1.1). Their
Sentinel-2 has the offset of 1000 of processing baseline 04.00, which version 1 does not have.
Images of Sentinel-1 are sorted by the names of their products, which begin with the satellite:
those of S1B follow those of S1A, so the same position is not the same date (issue 4 there).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A
from eocontrast.rasters.offsets import dark_ends, offset_by_content
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole
from eocontrast.sources.ssl4eo_shards import Shard

# cover 2.64 km in pixels of 10 m, as SSL4EO-S12 does (Wang et al. 2023)
SIDE = 264


@dataclass(frozen=True)
class Image:
    """A pair of images of one place and date.

    Attributes:
        name: name of the patch.
        place: name of the place.
        s1: path of Sentinel-1, relative to the folder of the source.
        s2: path of Sentinel-2.
        hidden: share of pixels under clouds, shadows and no data.
        days: days between the sensors.
        offset: number that the header of Sentinel-2 adds to its values.
        moved: whether Sentinel-1 was found at another position than Sentinel-2.
    """

    name: str
    place: str
    s1: str
    s2: str
    hidden: float
    days: float
    offset: int
    moved: bool


def convert(
    s1: Shard, s2: Shard, season: int, offset: str | int, folder: Path, inner: str
) -> list[Image]:
    """Write the images of a date as GeoTIFF files, and describe them.

    The offset stays in the files and is declared in their headers, so every reader takes it off.

    Args:
        s1: shard of Sentinel-1.
        s2: shard of Sentinel-2 with the same places.
        season: date of Sentinel-2, 0 to 3.
        offset: number to add to its values; `auto` finds it by content.
        folder: folder that paths are relative to.
        inner: folder in it for the files; its first part after `images` names the patches.

    Raises:
        UserError: the places differ, a shard is damaged, or the content does not show whether there
            is an offset.
    """
    if s1.places != s2.places:
        raise UserError(f"{s1.path} and {s2.path} have different places; use shards of one release")
    bands = SENTINEL2_L1C.bands if "B10" in s2.bands else SENTINEL2_L2A.bands
    optical, hidden = s2.pixels(season, bands), s2.hidden(season)
    added = find_offset(optical, s2.path) if offset == "auto" else int(offset)
    apart = np.abs(s1.dates - s2.dates[:, season, None])
    # issue 4 above: by date, not by position
    nearest = apart.argmin(axis=1)
    every = np.arange(len(nearest))
    radar = s1.pixels(slice(None), SENTINEL1.bands)[every, nearest].astype(np.float32)
    part, images = inner.split("/")[1], []
    for n, place in enumerate(s2.places):
        stem = f"{inner}/{place}_{season}"
        files = [f"{stem}_S1.tif", f"{stem}_S2_{len(bands)}.tif"]
        _write(folder / files[0], radar[n], SENTINEL1.bands, s1, n, 0)
        _write(folder / files[1], optical[n], bands, s2, n, added)
        days = float(apart[n, nearest[n]] / np.timedelta64(1, "D"))
        name, moved = f"{part}_{place}_{season}", bool(nearest[n] != season)
        share = float(hidden[n])
        images.append(Image(name, place, files[0], files[1], share, days, added, moved))
    return images


def find_offset(optical: NDArray[np.integer], path: Path) -> int:
    """Return the number that takes the offset off, 0 if it is not there.

    Args:
        optical: digital numbers (N, bands, H, W); 0 in all bands is no data.
        path: shard, for messages.

    Raises:
        UserError: the ground is too bright to tell.
    """
    flat = np.moveaxis(optical, 1, 0).reshape(optical.shape[1], -1)
    counts = dark_ends(flat[:, (flat != 0).any(axis=0)], "DN")
    assert counts is not None  # digital numbers have dark ends
    evidence = offset_by_content(counts)
    if evidence in ("bright", "doubtful"):
        raise UserError(
            f"{path} does not show whether its values hold the offset of 1000 ({evidence}); set "
            "sources.ssl4eo.offset to -1000 or 0"
        )
    return -1000 if evidence == "present" else 0


def _write(
    path: Path, values: NDArray[Any], bands: tuple[str, ...], shard: Shard, n: int, offset: int
) -> None:
    x, y = shard.x[n], shard.y[n]
    # coordinates are those of pixel centres, a transform begins at a corner
    dx, dy = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
    transform = rasterio.Affine(dx, 0, x[0] - dx / 2, 0, dy, y[0] - dy / 2)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    crs = f"EPSG:{shard.epsg[n]}"
    with (
        whole(path) as partial,
        rasterio.open(partial, "w", "GTiff", crs=crs, transform=transform, **shape) as file,
    ):
        file.write(values)
        file.descriptions = bands
        if offset:
            file.offsets = [offset] * count
