"""Grids by themselves; `mapping/test_scenes.py` warps rasters to them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from raster_files import noise, write_raster
from rasterio.crs import CRS

from eocontrast.rasters.grids import Grid, common_size
from eocontrast.rasters.open import RasterError, open_raster
from eocontrast.rasters.resample import bilinear, span

PIXEL = 10 / 3
NOWHERE = Grid(None, Affine.identity(), 100, 100)
FINE = Grid(CRS.from_epsg(32633), Affine(10, 0, 600000, 0, -10, 5300000), 60, 90)


@pytest.mark.parametrize("within", [0.0, 1 / 3, 0.5])
@pytest.mark.parametrize(("width", "height"), [(10.0, -10.0), (PIXEL, -PIXEL), (8.98e-5, -8.98e-5)])
def test_phase_of_rounded_corners(width: float, height: float, within: float) -> None:
    """Corners have a double's rounding and lie at any part of a pixel, as in files."""
    rng = np.random.default_rng(0)
    for left, top in rng.integers(-100_000, 700_000, (200, 2)).tolist():
        corner = Affine(width, 0, (left + within) * width, 0, height, (top + within) * height)
        grid = Grid(None, corner, 100, 100)
        assert grid.phase(480) == (top % 480, left % 480)
        assert grid.phase(1) == (0, 0)
    assert NOWHERE.phase(480) == (0, 0)


def test_bounds_and_pixel() -> None:
    grid = Grid(None, Affine(20, 0, 600000, 0, -20, 5300000), 4, 3)
    assert grid.bounds == (600000, 5299920, 600060, 5300000)
    assert grid.pixel == 20


@pytest.mark.parametrize(
    ("turned", "words"),
    [
        (Affine(0, 10, 600000, 10, 0, 5299400), "rotated by 90 degrees"),
        (FINE.transform @ Affine.rotation(12), "rotated by 12 degrees"),
        (FINE.transform @ Affine.rotation(-90), "rotated by 90 degrees"),
        (FINE.transform @ Affine.translation(0.7, 0), "shifted by 0.7 px east"),
        (FINE.transform, ""),
    ],
)
def test_difference_of_rotated_grids(turned: Affine, words: str) -> None:
    """A square turned by 90 degrees has the same bounds."""
    square = replace(FINE, height=60, width=60)
    assert words in replace(square, transform=turned).difference(square)
    assert bool(words) == bool(replace(square, transform=turned).difference(square))


def upsample(coarse: NDArray[Any], factor: int) -> NDArray[Any]:
    spans = [span(0, factor * size, size, factor * size) for size in coarse.shape[1:]]
    return bilinear(coarse, *spans)


def test_bilinear_keeps_a_ramp() -> None:
    """Pixel centres of a 60 m band lie at 30, 90, ... m, those of a 10 m band at 5, 15, ... m."""
    north, east = np.mgrid[30:1200:60, 30:1200:60]
    coarse = (100 + 2 * east + 0.5 * north)[None].astype(np.float32)
    north, east = np.mgrid[5:1200:10, 5:1200:10].clip(30, 1170)
    np.testing.assert_allclose(upsample(coarse, 6)[0], 100 + 2 * east + 0.5 * north)


def test_bilinear_spreads_missing_pixels() -> None:
    coarse = np.full((1, 10, 10), 7.0)
    coarse[0, 4, 4] = np.nan
    expected = np.full((20, 20), 7.0)
    expected[7:11, 7:11] = np.nan
    np.testing.assert_array_equal(upsample(coarse, 2)[0], expected)


@pytest.mark.parametrize(
    ("coarse", "refined"),
    [
        (FINE.coarser(3), True),
        (FINE, True),
        (FINE.coarser(7), False),
        (replace(FINE.coarser(3), transform=FINE.transform @ Affine.translation(1, 0)), False),
        (replace(FINE.coarser(3), crs=None), False),
    ],
)
def test_refines(coarse: Grid, refined: bool) -> None:
    assert FINE.refines(coarse) == refined


def test_common_size_of_other_ground() -> None:
    sizes = {Path("B01.tif"): (50, 60), Path("B02.tif"): (120, 120)}
    with pytest.raises(RasterError, match=r"B01.tif is 50 x 60 pixels .* same ground"):
        common_size(sizes)
    assert common_size({Path("B01.tif"): (60, 60), Path("B02.tif"): (120, 120)}) == (120, 120)


@pytest.mark.parametrize("heights", [5773, 3855, 5783])
def test_heights_do_not_move_a_grid(tmp_path: Path, heights: int) -> None:
    """Systems with heights, as SNAP and elevation models write them, have the same map."""
    crs = CRS.from_string(f"EPSG:32633+{heights}")
    with open_raster(
        write_raster(tmp_path / "a.tif", noise(1, 60, 90), crs=crs, transform=FINE.transform)
    ) as raster:
        grid = Grid.of(raster)
    assert grid == FINE
    assert grid.difference(FINE) == ""


def test_systems_without_a_code_have_a_name() -> None:
    local = CRS.from_string("+proj=tmerc +lon_0=15 +lat_0=3 +ellps=bessel")
    difference = replace(FINE, crs=local).difference(FINE)
    assert len(difference) < 60
    assert difference.endswith("unlike EPSG:32633 of")


@pytest.mark.parametrize(
    "wkt",
    ['LOCAL_CS["Unknown",UNIT["metre",1]]', CRS.from_epsg(4978).to_wkt()],
    ids=["local", "geocentric"],
)
def test_systems_of_no_map_are_none(tmp_path: Path, wkt: str) -> None:
    attributes = {"crs": CRS.from_wkt(wkt), "transform": FINE.transform}
    with open_raster(write_raster(tmp_path / "a.tif", noise(1, 4, 4), **attributes)) as raster:
        grid = Grid.of(raster)
    assert (grid.crs, grid.metres, grid.located) == (None, None, False)


def test_transforms_without_a_system_are_compared() -> None:
    bare = replace(FINE, crs=None)
    moved = replace(bare, transform=FINE.transform @ Affine.translation(0.5, 0))
    assert bare.coincides(FINE)
    assert bare.coincides(replace(FINE, transform=Affine.identity()))
    assert not moved.coincides(bare)
    assert not moved.coincides(FINE)
    assert not FINE.coincides(moved)


def test_reversed_rows_beside_a_trace_of_rotation(tmp_path: Path) -> None:
    trace = Affine(10, 1e-9, 600000, 1e-9, 10, 5300000 - 40)
    path = write_raster(tmp_path / "a.tif", noise(1, 4, 4), crs=FINE.crs, transform=trace)
    with open_raster(path) as raster:
        assert Grid.of(raster).coincides(replace(FINE, height=4, width=4))
    # rasters in between are neither turned nor taken for one grid
    turned = Affine.rotation(0.01)
    up, down = (
        Grid(None, turned @ Affine(10, 0, 0, 0, sign * 10, place), 4, 4)
        for sign, place in ((1, 0), (-1, 40))
    )
    assert up.difference(down) == "has its rows in the reverse order of those of"
