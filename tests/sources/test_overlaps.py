import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.rasters.source import COLUMNS
from eocontrast.runtime.errors import UserError
from eocontrast.sources.overlaps import (
    Footprint,
    corner_blocks,
    footprint,
    intersecting,
    merge_groups,
    merge_overlapping,
    sharing_place,
)
from eocontrast.sources.zones import Box

SIZE = 32


def scene(seed: int, side: int = 96) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 9000, (3, side, side), dtype=np.uint16)


def window(pixels: NDArray[np.generic], row: int, column: int) -> NDArray[np.generic]:
    return pixels[:, row : row + SIZE, column : column + SIZE]


def write(
    path: Path, values: NDArray[np.generic], corner: tuple[float, float] | None = None
) -> Path:
    """Bands of shape (bands, H, W), placed at the upper-left `corner` in metres where given."""
    place = {}
    if corner:
        place = {
            "crs": "EPSG:32633",
            "transform": rasterio.Affine(10, 0, corner[0], 0, -10, corner[1]),
        }
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", "GTiff", dtype=values.dtype, **shape, **place) as raster:
            raster.write(values)
    return path


def manifest(paths: list[Path], splits: list[str] | None = None) -> pd.DataFrame:
    rows = [
        (path.stem, "s1", str(path), "", path.stem, split)
        for path, split in zip(paths, splits or [""] * len(paths), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def groups(paths: list[Path]) -> list[str]:
    return list(merge_overlapping(manifest(paths), footprint)["group"])


def test_half_stride_windows_are_grouped(tmp_path: Path) -> None:
    pixels, other = scene(0), scene(1)
    places = [(0, 0), (0, 16), (16, 32), (64, 64)]
    paths = [write(tmp_path / f"a{n}.tif", window(pixels, *at)) for n, at in enumerate(places)]
    paths.append(write(tmp_path / "b.tif", window(other, 0, 0)))
    # the third shares its upper left quadrant with the second's lower right one
    assert groups(paths) == ["a0", "a0", "a0", "a3", "b"]


def test_content_groups_match_brute_force(tmp_path: Path) -> None:
    """Compare with the transitive closure of windows that share a quadrant."""
    pixels = scene(2, 160)
    rng = np.random.default_rng(3)
    places = [(int(row) * 16, int(column) * 16) for row, column in rng.integers(0, 9, (14, 2))]
    paths = [write(tmp_path / f"p{n:02d}.tif", window(pixels, *at)) for n, at in enumerate(places)]
    near = np.array([[max(abs(a - c), abs(b - d)) <= 16 for a, b in places] for c, d in places])
    linked = np.linalg.matrix_power(near.astype(float), len(places)) > 0
    merged = np.array(groups(paths))
    np.testing.assert_array_equal(merged[:, None] == merged, linked)
    assert 1 < len(set(merged)) < len(set(places))


@pytest.mark.parametrize("value", [0, 65535, np.nan])
def test_constant_blocks_are_ignored(value: float) -> None:
    dtype = np.float32 if np.isnan(value) else np.uint16
    patch = window(scene(4), 0, 0).astype(dtype)
    patch[:, :16] = value
    assert len(corner_blocks(patch)) == 2
    patch[:, 3, 3] = 7
    assert len(corner_blocks(patch)) == 3


def test_block_size_is_a_parameter() -> None:
    pixels = scene(5)
    one, other = window(pixels, 0, 0), window(pixels, 24, 24)
    assert not corner_blocks(one) & corner_blocks(other)
    assert len(corner_blocks(one, 8) & corner_blocks(other, 8)) == 1


def test_changed_pixel_changes_one_block() -> None:
    one = window(scene(6), 0, 0)
    other = one.copy()
    other[2, 31, 31] ^= 1
    assert len(corner_blocks(one) & corner_blocks(other)) == 3


def test_intersecting_places_are_grouped(tmp_path: Path) -> None:
    corners = [(500000, 5000000), (500310, 5000000), (500320, 5000000), (500630, 5000310), None]
    paths = [
        write(tmp_path / f"p{n}.tif", window(scene(10 + n), 0, 0), corner)
        for n, corner in enumerate(corners)
    ]
    # a patch is 320 m wide: the first two share 10 m; the third touches the first, crosses the
    # second, and shares one pixel at a corner with the fourth
    assert groups(paths) == ["p0", "p0", "p0", "p0", "p4"]


def test_touching_places_stay_apart(tmp_path: Path) -> None:
    corners = [(500000, 5000000), (500320, 5000000), (500000, 4999680)]
    paths = [
        write(tmp_path / f"p{n}.tif", window(scene(20 + n), 0, 0), corner)
        for n, corner in enumerate(corners)
    ]
    assert groups(paths) == ["p0", "p1", "p2"]


def test_reference_systems_are_kept_apart() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    patches = [Footprint(frozenset(), crs, box) for crs in ("EPSG:32633", "EPSG:32634", "", "")]
    assert sharing_place(patches) == []
    assert sharing_place([*patches, patches[0]]) == [[0, 4]]


def test_intersections_match_brute_force() -> None:
    rng = np.random.default_rng(7)
    corners = rng.uniform(-3000, 3000, (300, 2)).round()
    sizes = rng.uniform(20, 400, 300).round()
    boxes: list[Box] = sorted(
        {
            (float(x), float(y), float(x + s), float(y + s))
            for (x, y), s in zip(corners, sizes, strict=True)
        }
    )
    expected = {
        (a, b)
        for a, b in combinations(boxes, 2)
        if min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])
    }
    assert intersecting(boxes) == expected
    assert len(expected) > 100


def test_merged_groups_keep_first_name() -> None:
    groups = ["c", "b", "a", "d", "b"]
    assert merge_groups(groups, [[2, 4], [0, 1]]) == ["c", "c", "c", "d", "c"]
    assert merge_groups(["x", "y"], []) == ["x", "y"]


def test_merges_and_leaks_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = scene(8)
    places = [(0, 0), (0, 16), (0, 32), (64, 64)]
    paths = [write(tmp_path / f"p{n}.tif", window(pixels, *at)) for n, at in enumerate(places)]
    rows = manifest(paths, ["train", "test", "test", "test"])
    merged = merge_overlapping(rows, footprint)
    assert list(merged["split"]) == list(rows["split"])
    printed = capsys.readouterr().err
    assert "4 groups of 4 patches: 2 merged by content, 0 more by place, 2 remain" in printed
    # the third is linked to the training patch by the second alone
    assert "warning: 1 of 3 test patches share ground" in printed


def test_damaged_raster_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", window(scene(9), 0, 0))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"a\.tif"):
        groups([path])


def test_ground_in_neighbouring_zones() -> None:
    """Patches on the border of two UTM zones, given in either, or in degrees."""
    west, east, degrees = (
        Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(12.001, 47.0)
        for crs in ("EPSG:32632", "EPSG:32633", "EPSG:4326")
    )

    def place(crs: str, corner: tuple[float, float], side: float = 320) -> Footprint:
        box = (corner[0], corner[1], corner[0] + side, corner[1] + side)
        return Footprint(frozenset(), crs, box)

    far = (east[0] + 5000, east[1])
    patches = [
        place("EPSG:32632", west), place("EPSG:32633", east), place("EPSG:32633", far),
        place("EPSG:4326", degrees, 0.001),
    ]  # fmt: skip
    assert {frozenset(rows) for rows in sharing_place(patches)} == {
        frozenset({0, 1}), frozenset({0, 3}), frozenset({1, 3}),
    }  # fmt: skip
    assert merge_groups(["a", "b", "c", "d"], sharing_place(patches)) == ["a", "a", "c", "a"]
