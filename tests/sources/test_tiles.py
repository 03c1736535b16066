from pathlib import Path

import numpy as np
from raster_files import write_raster
from scipy.ndimage import gaussian_filter

from eocontrast.sources.tiles import adjoining, alike, read_tiles


def test_neighbours_of_grid(tmp_path: Path) -> None:
    field = gaussian_filter(np.random.default_rng(0).normal(size=(2, 96, 96)), (0, 4, 4))
    scene = (127 + 80 * field / np.abs(field).max()).astype(np.uint8)
    tiles = [scene[:, y : y + 32, x : x + 32] for y in (0, 32, 64) for x in (0, 32, 64)]
    order = np.random.default_rng(1).permutation(9)  # position in the grid, by file
    paths = [
        [write_raster(tmp_path / f"{number}.png", tiles[place][:1], "PNG"),
         write_raster(tmp_path / f"{number}b.png", tiles[place][1:], "PNG")]
        for number, place in enumerate(order)
    ]  # fmt: skip
    read = read_tiles(paths)
    found = {(int(order[one]), int(order[other])) for one, other in adjoining(read)}
    right = {(place, place + 1) for place in range(9) if place % 3 < 2}
    assert found == right | {(place, place + 3) for place in range(6)}
    assert alike(read) == []


def test_constant_tiles_resemble_none(tmp_path: Path) -> None:
    black = write_raster(tmp_path / "black.png", np.zeros((1, 32, 32), np.uint8), "PNG")
    tiles = read_tiles([[black], [black]])
    assert adjoining(tiles) == []
    assert alike(tiles) == []
