"""Windows of a scene as batches for a model: the next is read while the model works on one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eocontrast.inputs import Batch
from eocontrast.patches import PIXELS
from eocontrast.scenes import Scene
from eocontrast.tiles import Tile, Tiling


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


def read_ahead(scene: Scene, tiling: Tiling, cell: int) -> Iterator[Windows]:
    """All tiles in their order, as many at once as a forward pass takes.

    At most two batches are in memory.

    Args:
        scene: open.
        tiling: of the scene in cells.
        cell: side in pixels.

    Raises:
        UserError: a file is damaged.
    """
    waiting: deque[Future[Windows]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for tiles in tiling.batches(PIXELS // cell**2):
            waiting.append(reader.submit(_read, scene, tiles, cell))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(scene: Scene, tiles: list[Tile], cell: int) -> Windows:
    found = [scene.read(tile.times(cell)) for tile in tiles]
    batch: Batch = {
        sensor: torch.from_numpy(np.stack([stored[sensor] for stored in found]))
        for sensor in scene.inputs
    }
    pixels = np.stack([scene.has_data(stored) for stored in found])
    size, height, width = pixels.shape
    cells = pixels.reshape(size, height // cell, cell, width // cell, cell)
    return Windows(tiles, batch, cells.mean((2, 4)))
