"""Windows of a scene as batches for a model, read ahead of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from eocontrast.mapping.ahead import ahead
from eocontrast.mapping.scenes import SceneReader
from eocontrast.mapping.tiles import Tile, Tiling
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PIXELS


@dataclass(frozen=True)
class Windows:
    """Neighbouring tiles of one shape.

    Attributes:
        tiles: in cells of the tiling.
        batch: stored integers (B, bands, H, W) a sensor.
        valid: share of each cell's pixels with data, (B, h, w).
    """

    tiles: list[Tile]
    batch: Batch
    valid: NDArray[np.float64]


def read_ahead(scene: SceneReader, tiling: Tiling, cell: int) -> Generator[Windows]:
    """All tiles in their order; the next are read while the model works on some.

    At most two batches are in memory.

    Args:
        scene: open.
        tiling: of the scene in cells.
        cell: side in pixels.

    Raises:
        UserError: a file is damaged.
    """
    return ahead(partial(read, scene, cell), batches(tiling, cell), 1)


def batches(tiling: Tiling, cell: int) -> Iterator[list[Tile]]:
    """Neighbouring tiles, as many at once as a forward pass takes."""
    return tiling.batches(PIXELS // cell**2)


def read(scene: SceneReader, cell: int, tiles: list[Tile]) -> Windows:
    """Tiles of one shape.

    Args:
        scene: open.
        cell: side in pixels.
        tiles: in cells.

    Raises:
        UserError: a file is damaged.
    """
    found = [scene.read(tile.times(cell)) for tile in tiles]
    batch: Batch = {
        sensor: torch.from_numpy(np.stack([stored[sensor] for stored in found]))
        for sensor in scene.inputs
    }
    pixels = np.stack([scene.has_data(stored) for stored in found])
    size, height, width = pixels.shape
    cells = pixels.reshape(size, height // cell, cell, width // cell, cell)
    return Windows(tiles, batch, cells.mean((2, 4)))
