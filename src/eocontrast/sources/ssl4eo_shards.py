"""Shards of SSL4EO-S12 v1.1: zip files with zarr arrays of 64 places and four dates."""

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
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from eocontrast.runtime.errors import UserError

_CODECS = frozenset({"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta"})
"""Codecs that only decompress; others may load pickles, which can run code."""

_CLOUDY = (3, 4, 5, 6)  # thin and thick cloud, shadow, no data
_DATE = re.compile(r"\d{8}T\d{6}")

_DAMAGE = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError, AttributeError),
    *(zipfile.BadZipFile, zlib.error),
)


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
        # zarr reads a missing chunk as its fill value, without an error
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
