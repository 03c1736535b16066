from pathlib import Path

import geopandas
import numpy as np
import pytest
from affine import Affine
from raster_files import write_raster
from rasterio.crs import CRS

from eocontrast.mapping.polygons import check_polygons, write_polygons
from eocontrast.runtime.errors import UserError

PLACE = Affine(10, 0, 500_000, 0, -10, 5_200_000)
CLASSES = np.zeros((1, 6, 8), np.uint8)
CLASSES[0, :, :4] = 1
CLASSES[0, :, 4:7] = 2
CLASSES[0, 2, 1] = 2


def polygons(folder: Path, name: str = "map.gpkg", smallest: int = 0) -> geopandas.GeoDataFrame:
    utm = CRS.from_epsg(32632)
    classes = write_raster(folder / "map.tif", CLASSES, crs=utm, transform=PLACE, nodata=0)
    confidence = np.full((2, 6, 8), 100, np.uint8)
    confidence[0, :, 4:] = 200
    path = write_raster(
        folder / "map_confidence.tif", confidence, crs=utm, transform=PLACE, scales=(0.004, 0.004)
    )
    count = write_polygons(classes, path, ("maize", "rye"), folder / name, smallest)
    out = folder / name
    frame = geopandas.read_parquet(out) if name.endswith("parquet") else geopandas.read_file(out)
    assert len(frame) == count
    return frame


@pytest.mark.parametrize("name", ["map.gpkg", "map.parquet", "map.shp"])
def test_regions_have_area_and_confidence(tmp_path: Path, name: str) -> None:
    frame = polygons(tmp_path, name).set_axis(
        ["class", "area_m2", "pixels", "confidence", "geometry"], axis=1
    )
    frame = frame.sort_values("pixels")
    assert frame["class"].tolist() == ["rye", "rye", "maize"]
    assert frame.pixels.tolist() == [1, 18, 23]
    assert frame.area_m2.tolist() == [100.0, 1800.0, 2300.0]
    assert frame.confidence.tolist() == [0.4, 0.8, 0.4]
    np.testing.assert_allclose(frame.area, frame.area_m2)
    assert frame.crs.to_epsg() == 32632


def test_sieve_joins_small_regions(tmp_path: Path) -> None:
    frame = polygons(tmp_path, smallest=4).sort_values("pixels")
    assert frame.pixels.tolist() == [18, 24]


def test_geojson_is_in_degrees(tmp_path: Path) -> None:
    frame = polygons(tmp_path, "map.geojson")
    assert frame.crs.to_epsg() == 4326
    assert frame.total_bounds[0] == pytest.approx(9.0, abs=0.01)
    assert frame.area_m2.sum() == pytest.approx(4200)


def test_odd_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no vector file; expected \.gpkg"):
        check_polygons(tmp_path / "map.kml", overwrite=False)
    (tmp_path / "map.gpkg").touch()
    with pytest.raises(UserError, match="there already"):
        check_polygons(tmp_path / "map.gpkg", overwrite=False)
