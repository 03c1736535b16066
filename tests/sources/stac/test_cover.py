from typing import Any

import numpy as np
import pytest
import rasterio
from stac_world import COVER

from eocontrast.runtime.errors import UserError
from eocontrast.sources import stac
from eocontrast.sources.stac.cover import read_cover

Place = Any


@pytest.fixture
def covered(place: Place) -> Place:
    """A place whose catalogue has land cover of two years; that of the first one is wrong."""
    west, south, east, north = place.box(0.02)
    place.world.add_cover("old", 2020, (west + 0.003, south, east + 0.003, north))
    place.world.add_cover("new", 2021, (west, south, east, north))
    place.api.core.collections["esa-worldcover"] = COVER
    return place


def test_collection_labels_every_pixel(covered: Place) -> None:
    params = covered.params(label_collection="esa-worldcover")
    source = stac.fetch(covered.out, params, workers=1)
    assert source.classes == {"Tree cover": 10, "Grassland": 30, "Cropland": 40}
    assert source.palette["Grassland"] == "#ffff4c"
    assert "CC-BY-4.0" in source.licence
    right = []
    for name in source.manifest.label:
        with rasterio.open(covered.out / name) as raster:
            values = raster.read(1)
            rows, columns = np.indices(values.shape)
            x, y = rasterio.transform.xy(raster.transform, rows.ravel(), columns.ravel())
            lon, lat = rasterio.warp.transform(raster.crs, "EPSG:4326", x, y)
        truth = np.array([10, 30, 40])[covered.world.crop(np.array(lon), np.array(lat))]
        right.append((values.ravel() == truth).mean())
    # pixels of 10 m at the edges of fields take the nearest of 6 x 9 m
    assert np.mean(right) > 0.95
    requests, searches = covered.files.count, covered.api.core.searches
    stac.fetch(covered.out, params, workers=1)
    assert (covered.files.count, covered.api.core.searches) == (requests, searches)


def test_collection_without_classes_is_named() -> None:
    with pytest.raises(UserError, match=r"states no classes for its assets \(map\)"):
        read_cover("cop-dem-glo-30", {"item_assets": {"map": {}}})


def test_unknown_collection_is_named(covered: Place) -> None:
    with pytest.raises(UserError, match="has no collection worldcover"):
        stac.fetch(covered.out, covered.params(label_collection="worldcover"), workers=1)
