"""Shards of SSL4EO-S12 v1.1: zip files with zarr arrays of 64 places and four dates.

The shards hold two traps, which the publisher names (github.com/DLR-MF-DAS/SSL4EO-S12-v1.1). Their
Sentinel-2 has the offset of 1000 of processing baseline 04.00, which version 1 does not have.
Images of Sentinel-1 are sorted by the names of their products, which begin with the satellite:
those of S1B follow those of S1A, so the same position is not the same date (issue 4 there).
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A
from eocontrast.rasters.offsets import dark_ends, offset_by_content
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole

SIDE = 264

_CODECS = frozenset({"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta"})
"""Codecs that only decompress; others may load pickles, which can run code."""

_CLOUDY = (3, 4, 5, 6)  # thin and thick cloud, shadow, no data
_DATE = re.compile(r"\d{8}T\d{6}")

_DAMAGE = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, AttributeError),
    *(zipfile.BadZipFile, zlib.error),
)


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


@dataclass(frozen=True)
class Shard:
    """Arrays of a shard without its pixels, of N places.

    Attributes:
        path: zip file.
        places: names of the places.
        bands: names of the bands.
        dates: date of each image by the name of its product, (N, 4).
        epsg: code of the UTM zone of each place, (N,).
        x: eastings of the centres of pixels, (N, W).
        y: northings, (N, H).
    """

    path: Path
    places: list[str]
    bands: list[str]
    dates: NDArray[np.datetime64]
    epsg: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def pixels(self, season: int | slice, bands: tuple[str, ...]) -> NDArray[Any]:
        """Return the images of a date, (N, bands, H, W), or of several, (N, dates, bands, H, W)."""
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise UserError(
                f"{self.path} has the bands {', '.join(self.bands)}; {missing[0]} is missing"
            )
        with _arrays(self.path) as group:
            values = np.asarray(_array(group, "bands")[:, season])
        return np.take(values, [self.bands.index(band) for band in bands], axis=-3)

    def hidden(self, season: int) -> NDArray[np.float64]:
        """Return the share of each image that clouds, shadows and no data hide, (N,)."""
        with _arrays(self.path) as group:
            classes = np.asarray(_array(group, "cloud_mask")[:, season])
        shares: NDArray[np.float64] = np.isin(classes, _CLOUDY).mean(axis=(1, 2))
        return shares


def read_shard(path: Path) -> Shard:
    """Read names, dates and places of a shard.

    Raises:
        UserError: the file is damaged, has another layout, or lacks pixels.
    """
    with _arrays(path) as group:
        bands = _array(group, "bands")
        if bands.nchunks_initialized < bands.nchunks:
            raise ValueError(f"{bands.nchunks - bands.nchunks_initialized} chunks are missing")
        columns = ("sample", "band", "file_id", "crs", "x_", "y_")
        places, names, products, crs, x, y = (_array(group, name)[:] for name in columns)
        shard = Shard(
            path,
            [str(name) for name in np.asarray(places)],
            [str(name).upper() for name in np.asarray(names)],
            _dates(np.asarray(products)),
            np.asarray(crs, np.int64),
            np.asarray(x, np.float64),
            np.asarray(y, np.float64),
        )
        count, sides = len(shard.places), (shard.y.shape[-1], shard.x.shape[-1])
        if bands.shape != (count, 4, len(shard.bands), *sides):
            raise ValueError(f"bands have the shape {bands.shape}, expected places, 4, bands, y, x")
    return shard


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


@contextmanager
def _arrays(path: Path) -> Iterator[zarr.Group]:
    """Open a shard; damage becomes an error that names it."""
    try:
        with ZipStore(path, mode="r") as store:
            yield zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} cannot be read as a shard of SSL4EO-S12 v1.1: {reason}; fetch it again"
        ) from error


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array after checking that reading it runs no code."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is a group, expected an array")
    codecs = {getattr(codec, "codec_id", "") for codec in (*array.compressors, *array.filters)}
    if array.dtype.kind not in "iufU" or not codecs <= _CODECS:
        raise TypeError(f"{name} has the type {array.dtype} and codecs {sorted(codecs)}")
    return array


def _dates(products: NDArray[np.str_]) -> NDArray[np.datetime64]:
    """Return the dates in the names of products, same shape."""
    found = [_DATE.search(str(name)) for name in products.ravel()]
    if not all(found):
        raise ValueError(f"file_id holds {str(products.flat[0])!r}, expected names with dates")
    texts = [match[0] for match in found if match]
    iso = [f"{t[:4]}-{t[4:6]}-{t[6:8]}T{t[9:11]}:{t[11:13]}:{t[13:]}" for t in texts]
    return np.array(iso, "datetime64[s]").reshape(products.shape)
