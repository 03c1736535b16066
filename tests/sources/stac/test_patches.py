from collections import defaultdict
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import shapely.affinity
from numpy.typing import NDArray

from eocontrast.config.catalogues import StacParams
from eocontrast.config.labels import LabelsParams
from eocontrast.runtime.errors import UserError
from eocontrast.sources.stac.catalogs import PRESETS, catalog_of
from eocontrast.sources.stac.patches import Patch, patches_of


def params(
    folder: Path, *boxes: tuple[float, float, float, float], **changes: object
) -> StacParams:
    path = folder / "area.geojson"
    geopandas.GeoDataFrame(geometry=[shapely.box(*b) for b in boxes], crs=4326).to_file(path)
    (folder / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    defaults: dict[str, Any] = {
        "catalog": "planetary_computer",
        "area": path,
        "dates": ("2023-05-01/2023-09-30",),
        "bands": ("B02",),
        "orbit": "descending",
        "patch_size": 64,
        "patches": 10_000,
        "max_cloud": 0.1,
        "max_days_apart": 6,
        "block_km": 3,
        "seed": 0,
        "classes": {},
        "label_collection": "none",
        "labels": LabelsParams(path=folder / "none.geojson", class_column="class"),
    }
    return StacParams(**{**defaults, **changes})


def distances(patches: list[Patch]) -> NDArray[np.float64]:
    """Return how many cells apart patches of different groups are, at least."""
    places = np.array([(patch.left / 640, patch.top / 640) for patch in patches])
    groups = np.array([patch.group for patch in patches])
    apart: NDArray[np.float64] = np.abs(places[:, None] - places[None]).max(2)
    return np.asarray(apart[groups[:, None] != groups[None]])


def test_blocks_do_not_touch(tmp_path: Path) -> None:
    patches = patches_of(params(tmp_path, (9.0, 48.0, 9.2, 48.1)))
    assert len(patches) > 100
    assert distances(patches).min() >= 2
    sizes: dict[str, int] = defaultdict(int)
    for patch in patches:
        sizes[patch.group] += 1
    assert max(sizes.values()) == 16


def test_patches_lie_within_the_area(tmp_path: Path) -> None:
    box = (9.0, 48.0, 9.1, 48.05)
    area = shapely.box(*box).buffer(1e-4)
    assert all(area.contains(p.footprint) for p in patches_of(params(tmp_path, box)))


@pytest.mark.parametrize(
    ("boxes", "zones"),
    [
        ([(11.95, 47.97, 12.05, 48.03)], {32632, 32633}),
        ([(11.95, -34.03, 12.05, -33.97)], {32732, 32733}),
        ([(9.0, -0.05, 9.1, 0.05)], {32632, 32732}),
        ([(179.95, 51.0, 180.0, 51.05), (-180.0, 51.0, -179.95, 51.05)], {32660, 32601}),
    ],
    ids=["zone border", "south", "equator", "antimeridian"],
)
def test_patches_of_zones_do_not_overlap(
    tmp_path: Path, boxes: list[tuple[float, float, float, float]], zones: set[int]
) -> None:
    patches = patches_of(params(tmp_path, *boxes))
    assert {patch.epsg for patch in patches} == zones
    # to the west of the antimeridian longitudes go on beyond 180
    turned = [
        shapely.affinity.translate(p.footprint, 360 if p.footprint.bounds[0] < -179 else 0)
        for p in patches
    ]
    tree = shapely.STRtree(turned)
    first, second = tree.query(turned, "overlaps")
    areas = [turned[a].intersection(turned[b]).area for a, b in zip(first, second, strict=True)]
    # neighbours on one grid share an edge that is bent a little in longitude and latitude
    assert max(areas, default=0) < 1e-9
    assert all(0 < p.footprint.area < 1e-4 for p in patches)


def test_sample_is_a_function_of_the_seed(tmp_path: Path) -> None:
    first, second, other = (
        [p.name for p in patches_of(params(tmp_path, (9, 48, 9.2, 48.1), patches=20, seed=seed))]
        for seed in (0, 0, 1)
    )
    assert first == second
    assert first != other
    assert len(first) == 20


def test_presets_have_all_bands() -> None:
    for catalog in PRESETS.values():
        assert len(catalog.s2.assets) == 12
        assert catalog.s2.assets.keys() == PRESETS["earth_search"].s2.assets.keys()
    # https://earth-search.aws.element84.com/v1/collections/sentinel-2-c1-l2a
    assert PRESETS["earth_search"].s2.assets["B8A"] == "nir08"
    assert PRESETS["earth_search"].s2.assets["B12"] == "swir22"
    assert PRESETS["earth_search_l2a"].s2.assets == PRESETS["earth_search"].s2.assets
    # https://documentation.dataspace.copernicus.eu/APIs/STAC.html
    assert PRESETS["copernicus"].s2.assets["B01"] == "B01_60m"
    assert PRESETS["copernicus"].s2.assets["B8A"] == "B8A_20m"


def test_missing_credentials_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(UserError, match="variable AWS_ACCESS_KEY_ID is not set"):
        catalog_of("copernicus")


@pytest.mark.parametrize("dates", ["2023-09-30/2023-05-01", "2023", "summer/autumn"])
def test_odd_dates_are_refused(tmp_path: Path, dates: str) -> None:
    with pytest.raises(ValueError, match="Expected ranges"):
        params(tmp_path, (9, 48, 9.2, 48.1), dates=(dates,))
