"""Grids by themselves; rasters that are brought to one are in `test_scenes.py`."""

import numpy as np
import pytest
from affine import Affine

from eocontrast.rasters.grids import Grid

PIXEL = 10 / 3


@pytest.mark.parametrize("within", [0.0, 1 / 3, 0.5])
@pytest.mark.parametrize(("width", "height"), [(10.0, -10.0), (PIXEL, -PIXEL), (8.98e-5, -8.98e-5)])
def test_scenes_that_were_cut_from_one_count_from_one_origin(
    width: float, height: float, within: float
) -> None:
    """Corners as they are written in files, with a double's rounding, at any part of a pixel."""
    rng = np.random.default_rng(0)
    for left, top in rng.integers(-100_000, 700_000, (200, 2)).tolist():
        corner = Affine(width, 0, (left + within) * width, 0, height, (top + within) * height)
        grid = Grid(None, corner, 100, 100)
        assert grid.phase(480) == (top % 480, left % 480)
        assert grid.phase(1) == (0, 0)


def test_what_does_not_say_where_it_lies_counts_from_its_corner() -> None:
    assert Grid(None, Affine.identity(), 100, 100).phase(480) == (0, 0)
