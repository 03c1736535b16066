from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from stac_world import PER_DEGREE

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.runtime.errors import UserError
from eocontrast.sources.stac.scene import lay_tiles, write_scene

Place = Any
OPTICAL: tuple[Sensor, ...] = ("s2",)
OLD, NEW = {"s2:processing_baseline": "02.14"}, {"s2:processing_baseline": "05.09"}


def read(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the values of an image, and longitude and latitude of its pixels."""
    with rasterio.open(path) as raster:
        rows, columns = np.indices((raster.height, raster.width))
        x, y = rasterio.transform.xy(raster.transform, rows.ravel(), columns.ravel())
        lon, lat = rasterio.warp.transform(raster.crs, "EPSG:4326", x, y)
        shape = (raster.height, raster.width)
        return raster.read(), np.reshape(lon, shape), np.reshape(lat, shape)


@pytest.fixture
def patchy(make_place: Callable[[float, float], Place], monkeypatch: pytest.MonkeyPatch) -> Place:
    """Two days with clouds in the west and in the east, the second one with the offset."""
    place = make_place(9.3, 48.0)
    monkeypatch.setattr("eocontrast.sources.stac.scene.SIDE", 160)  # several tiles
    west, south, east, north = place.box(0.013)
    place.world.add_s2(
        "first", "2023-06-01", OLD, epsg=32632, bbox=(west, south, east, north), cloudy=0.4
    )
    for name, box in (("left", (west, south, 9.302, north)), ("right", (9.3, south, east, north))):
        place.world.add_s2(name, "2023-06-04", NEW, epsg=32632, bbox=box, offset=1000)
    place.world.add_s1("S1", "2023-06-03", epsg=32632, bbox=(west, south, east, north))
    return place


def test_image_is_cloudless_and_in_place(patchy: Place, capsys: pytest.CaptureFixture[str]) -> None:
    paths = write_scene(patchy.params(half=0.01), SENSORS, patchy.out)
    assert "0.0% of the pixels are never seen" in capsys.readouterr().out
    values, lon, lat = read(paths["s2"])
    inside = (np.abs(lon - 9.3) < 0.0098) & (np.abs(lat - 48.0) < 0.0098)
    outside = (np.abs(lon - 9.3) > 0.012) | (np.abs(lat - 48.0) > 0.012)
    assert (values[:, inside] > 0).all()
    assert not values[:, outside].any()
    half_a_pixel = PER_DEGREE * 5 / 111_320
    difference = np.abs(values[:2] - patchy.world.optical(lon, lat)[:2])[:, inside]
    assert difference.max() < half_a_pixel / np.cos(np.radians(48)) + 1
    power, *_ = read(paths["s1"])
    assert np.isfinite(power[:, inside]).all()
    assert np.isnan(power[:, outside]).all()


def test_second_image_reads_nothing(patchy: Place) -> None:
    params = patchy.params(half=0.01)
    first = write_scene(params, SENSORS, patchy.out)["s2"].read_bytes()
    requests = patchy.files.count
    assert write_scene(params, SENSORS, patchy.out)["s2"].read_bytes() == first
    assert patchy.files.count == requests


def test_optical_image_needs_no_radar(patchy: Place) -> None:
    patchy.world.items[:] = [i for i in patchy.world.items if "sentinel-2" in i["collection"]]
    assert set(write_scene(patchy.params(half=0.01), OPTICAL, patchy.out)) == {"s2"}
    with pytest.raises(UserError, match="no items of sentinel-1-rtc"):
        write_scene(patchy.params(half=0.01), SENSORS, patchy.out)


def test_area_across_the_antimeridian_is_one_image(tmp_path: Path) -> None:
    area = shapely.union_all(
        [shapely.box(179.95, 51, 180, 51.05), shapely.box(-180, 51, -179.95, 51.05)]
    )
    grid, tiles = lay_tiles(area, tmp_path)
    assert grid.width < 800
    assert len(tiles) == 4
    assert all(179.9 < tile.footprint.bounds[0] % 360 < 180.1 for tile in tiles)
