"""Tiles of one scene without georeference, found by their pixels.

A scene that is cut at a stride of the tile's side leaves tiles that share no pixel. The last column
of one and the first of its neighbour are 10 m apart, so they correlate. Copies of a tile that were
encoded anew share no byte, but their block means correlate.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from tqdm import tqdm

from eocontrast.rasters.open import open_raster, read_values
from eocontrast.runtime.parallel import parallel_map

CONTINUES = 0.85
"""Least correlation of two edges that continue each other.

In OMBRIA, 439 right edges reach it. Each is continued by one tile only, the next by number. At 0.7
a tile has up to three continuations, so chance decides.
"""

ALIKE = 0.98
"""Least correlation of the block means of two copies; of distinct places in OMBRIA 0.83 at most."""

BLOCKS = 16
"""Blocks along each side of a tile."""

Vectors = NDArray[np.float32]
"""Rows of zero mean per band and unit length, (N, features)."""


@dataclass(frozen=True)
class Tile:
    """Edges and block means of a tile, each (bands, values)."""

    left: NDArray[np.float32]
    right: NDArray[np.float32]
    top: NDArray[np.float32]
    bottom: NDArray[np.float32]
    means: NDArray[np.float32]


def read_tiles(images: Sequence[Sequence[Path]]) -> list[Tile]:
    """Return a tile per place, with the bands of all its images stacked.

    Args:
        images: images of one size for each place, such as one per date.

    Raises:
        UserError: an image is missing or damaged.
    """
    # warning filters belong to the process: one thread would restore what another ignores
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # threads: decoding releases the interpreter's lock
        tiles = parallel_map(_tile, [(paths,) for paths in images], kind="threads")
        return list(tqdm(tiles, "tiles", len(images), unit="place", leave=False, disable=None))


def adjoining(tiles: Sequence[Tile]) -> list[tuple[int, int]]:
    """Return pairs of tiles that adjoin: left and right, or upper and lower, by position."""
    right = _correlation([tile.right for tile in tiles], [tile.left for tile in tiles])
    below = _correlation([tile.bottom for tile in tiles], [tile.top for tile in tiles])
    return [*_pairs(right > CONTINUES), *_pairs(below > CONTINUES)]


def alike(tiles: Sequence[Tile]) -> list[tuple[int, int]]:
    """Return pairs of tiles, by position, whose block means show the same image."""
    means = [tile.means for tile in tiles]
    # a tile and its copy are one pair
    return _pairs(np.triu(_correlation(means, means) > ALIKE))


def _tile(paths: Sequence[Path]) -> Tile:
    bands = []
    for path in paths:
        with open_raster(path) as raster:
            bands.append(read_values(path, raster))
    values = np.concatenate(bands).astype(np.float32)
    edges = (values[:, :, 0], values[:, :, -1], values[:, 0], values[:, -1])
    return Tile(*edges, _block_means(values))


def _block_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of BLOCKS x BLOCKS equal blocks, (bands, BLOCKS²); a rest is left out."""
    bands, height, width = values.shape
    high, wide = max(height // BLOCKS, 1), max(width // BLOCKS, 1)
    rows, columns = height // high, width // wide
    blocks = values[:, : rows * high, : columns * wide].reshape(bands, rows, high, columns, wide)
    return np.asarray(blocks.mean(axis=(2, 4)).reshape(bands, -1))


def _correlation(
    one: Sequence[NDArray[np.float32]], other: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the correlation of each of `one` with each of `other`, (N, N)."""
    return np.asarray(_unit(one) @ _unit(other).T)


def _unit(values: Sequence[NDArray[np.float32]]) -> Vectors:
    stacked = np.stack(values)
    # without the mean of each band: brightness is that of the scene, not of the place
    centred = (stacked - stacked.mean(axis=2, keepdims=True)).reshape(len(stacked), -1)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-6))  # a constant edge resembles none


def _pairs(matches: NDArray[np.bool_]) -> list[tuple[int, int]]:
    return [(int(one), int(other)) for one, other in np.argwhere(matches) if one != other]
