"""Windows of a scene as batches for a model, read while it works on others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from eocontrast.mapping.scenes import SceneReader
from eocontrast.mapping.tiles import Tile, Tiling
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PIXELS

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Windows:
    """Neighbouring tiles of one shape.

    Attributes:
        tiles: Tiles in cells of the tiling.
        batch: Stored integers (B, bands, H, W) by sensor.
        valid: Share of each cell's pixels with data, (B, h, w).
    """

    tiles: list[Tile]
    batch: Batch
    valid: NDArray[np.float64]


def batches(tiling: Tiling, cell: int) -> Iterator[list[Tile]]:
    """Group neighbouring tiles of one shape, as many as one forward pass takes."""
    return tiling.batches(PIXELS // cell**2)


def read_windows(scene: SceneReader, cell: int, tiles: list[Tile]) -> Windows:
    """Read tiles of one shape.

    Args:
        scene: Open scene.
        cell: Side of a cell in pixels.
        tiles: Tiles in cells.

    Raises:
        UserError: a file is damaged.
    """
    windows = [scene.read(tile.times(cell)) for tile in tiles]
    batch: Batch = {
        sensor: torch.from_numpy(np.stack([stored[sensor] for stored in windows]))
        for sensor in scene.inputs
    }
    # a cell counts as valid by its share of pixels; cells of one pixel are 0 or 1
    pixels = np.stack([scene.has_data(stored) for stored in windows])
    size, height, width = pixels.shape
    cells = pixels.reshape(size, height // cell, cell, width // cell, cell)
    return Windows(tiles, batch, cells.mean((2, 4)))


def prefetch(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Generator[Result]:
    """Apply `work` to each item in threads and yield the results in the order of the items.

    At most `threads` + 1 results exist at a time: joblib's generator has no such bound, it works on
    while the caller is busy. An error is raised in its item's turn. After an error, or when the
    generator is closed, no work is begun and running work is waited for, so that files can be
    closed safely.

    Args:
        work: Function of one item.
        items: Items, taken one by one.
        threads: Number of threads. Until the end they share torch's threads evenly.
    """
    waiting: deque[Future[Result]] = deque()
    before = torch.get_num_threads()
    share = max(1, before // threads)
    # in this thread too: with two workers busy there is no core left for more
    torch.set_num_threads(share)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(share,))
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
