import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import shapely.affinity
from numpy.typing import NDArray
from pyproj import Transformer
from stac_world import PER_DEGREE

from eocontrast.config.catalogues import StacParams
from eocontrast.config.labels import LabelsParams
from eocontrast.normalisation.shift import audit_shift
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources import stac
from eocontrast.sources.labels.masks import place_labels
from eocontrast.sources.stac import load
from eocontrast.sources.stac.observe import Reader
from eocontrast.sources.stac.patches import Patch, patches_of
from eocontrast.sources.stac.record import Record

Place = Any
MakePlace = Callable[[float, float], Place]
OLD, NEW = {"s2:processing_baseline": "02.14"}, {"s2:processing_baseline": "05.09"}


def fetch(place: Place, params: StacParams | None = None) -> Source:
    return stac.fetch(place.out, params or place.params(), workers=1)


def pixels(grid: Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return longitude and latitude of the pixels' centres."""
    assert grid.crs is not None
    columns, rows = (np.arange(size) + 0.5 for size in (grid.width, grid.height))
    x, y = grid.transform.c + 10 * columns, grid.transform.f - 10 * rows
    back = Transformer.from_crs(grid.crs.to_epsg(), 4326, always_xy=True)
    lon, lat = back.transform(*np.meshgrid(x, y))
    return lon, lat


def errors(place: Place, source: Source) -> tuple[float, float]:
    """Return the largest errors of longitude and latitude in pixels of 10 m."""
    worst = []
    for row in source.manifest.itertuples():
        raster = read_raster(place.out / str(row.s2), source.s2)
        lon, lat = pixels(raster.grids[0])
        expected = place.world.optical(lon, lat)
        held = (raster.values > 0).all(0)
        assert held.mean() > 0.85
        per_pixel = PER_DEGREE * 10 / 111_320
        scale = np.array([per_pixel / np.cos(np.radians(place.world.lat)), per_pixel])
        difference = np.abs(raster.values[:2] - expected[:2]).max((1, 2), where=held, initial=0)
        # numbers are rounded once in the scene and once in the patch
        worst.append((difference - 1) / scale)
    east, north = np.max(worst, 0)
    return float(east), float(north)


@pytest.mark.parametrize(
    ("lon", "lat", "zones"),
    [
        (9.3, 48.0, {32632}),
        (12.0, 48.0, {32632, 32633}),
        (12.0, -34.0, {32732, 32733}),
        (180.0, -17.0, {32760, 32701}),
    ],
    ids=["one zone", "zone border", "southern zone border", "antimeridian"],
)
def test_patches_lie_on_the_truth(
    make_place: MakePlace, lon: float, lat: float, zones: set[int]
) -> None:
    place = make_place(lon, lat)
    west, south, east, north = place.box(0.03)
    for epsg in zones:
        # scenes of two zones overlap, as tiles of Sentinel-2 do
        first = lon - 0.01 if epsg % 100 in (33, 1) else west
        last = lon + 0.01 if epsg % 100 in (32, 60) and len(zones) > 1 else east
        box = (first, south, last, north)
        place.world.add_s2(f"S2_{epsg}", "2023-06-01", OLD, epsg=epsg, bbox=box)
    place.world.add_s1("S1", "2023-06-02", epsg=max(zones), bbox=(west, south, east, north))
    source = fetch(place)
    found = {int(name.split("_")[0]) for name in source.manifest.id}
    assert found == zones
    assert max(errors(place, source)) < 0.5


def test_sensors_of_a_pair_are_aligned(place: Place) -> None:
    source = fetch(place, place.params(patch_size=64, block_km=2))
    assert len(source.manifest) >= 3
    for row in source.manifest.itertuples():
        s1, s2 = (
            read_raster(place.out / str(path), modality).values.astype(np.float32)
            for path, modality in ((row.s1, source.s1), (row.s2, source.s2))
        )
        assert not audit_shift(str(row.id), s1, s2)


def test_power_becomes_decibel(place: Place) -> None:
    source = fetch(place)
    values = np.stack([read_raster(place.out / p, source.s1).values for p in source.manifest.s1])
    assert source.s1.units == "dB"
    assert -27 < np.percentile(values, 1) < np.percentile(values, 99) < -4
    means = values.mean((0, 2, 3))
    assert -13 < means[0] < -9
    assert -21 < means[1] < -16


@pytest.mark.parametrize(
    ("offset", "properties", "warned"),
    [
        (0, OLD, False),
        (1000, NEW, False),
        (0, {**NEW, "earthsearch:boa_offset_applied": True}, False),
        (1000, {**NEW, "earthsearch:boa_offset_applied": False}, False),
        (0, {**NEW, "earthsearch:boa_offset_applied": False}, True),
        (1000, {**NEW, "earthsearch:boa_offset_applied": True}, True),
        (1000, OLD, True),
        (1000, {}, False),
    ],
)
def test_offset_is_taken_off(
    make_place: MakePlace,
    capsys: pytest.CaptureFixture[str],
    offset: int,
    properties: dict[str, object],
    warned: bool,
) -> None:
    place = make_place(9.3, 48.0)
    box = place.box(0.02)
    place.world.add_s2("S2", "2023-06-01", properties, epsg=32632, bbox=box, offset=offset)
    place.world.add_s1("S1", "2023-06-02", epsg=32632, bbox=box)
    source = fetch(place)
    assert max(errors(place, source)) < 0.5
    assert ("warning: S2: its metadata say" in capsys.readouterr().out) == warned
    report = json.loads((place.out / "report.json").read_text())
    assert report["offset_contradicted"] == (["S2"] if warned else [])
    assert report["patches"][0]["offsets"]["S2"]["present"] == (offset > 0)


def test_mosaic_of_two_baselines(make_place: MakePlace) -> None:
    place = make_place(9.3, 48.0)
    west, south, east, north = place.box(0.02)
    for name, box, offset, properties in (
        ("left", (west, south, 9.303, north), 1000, NEW),
        ("right", (9.299, south, east, north), 0, OLD),
    ):
        place.world.add_s2(
            name, "2023-06-01", {"platform": "s", **properties}, epsg=32632, bbox=box, offset=offset
        )
    place.world.add_s1("S1", "2023-06-02", epsg=32632, bbox=place.box(0.02))
    source = fetch(place)
    records = json.loads((place.out / "report.json").read_text())["patches"]
    assert any(len(record["s2"]) == 2 for record in records)
    assert max(errors(place, source)) < 0.5


def test_lies_about_the_offset_leave_the_statistics(make_place: MakePlace) -> None:
    place = make_place(9.3, 48.0)
    west, south, east, north = place.box(0.02)
    lying = {**NEW, "earthsearch:boa_offset_applied": False}
    for name, box, offset, properties in (
        ("old", (west, 47.999, 9.301, north), 0, OLD),
        ("new", (9.299, 47.999, east, north), 1000, NEW),
        ("lying_old", (west, south, 9.301, 48.001), 0, lying),
        ("lying_new", (9.299, south, east, 48.001), 1000, OLD),
    ):
        place.world.add_s2(name, "2023-06-01", properties, epsg=32632, bbox=box, offset=offset)
    place.world.add_s1("S1", "2023-06-02", epsg=32632, bbox=place.box(0.02))
    source = fetch(place)
    rasters = [read_raster(place.out / p, source.s2) for p in source.manifest.s2]
    truth = [place.world.optical(*pixels(raster.grids[0])) for raster in rasters]
    held = np.stack([raster.values for raster in rasters])
    for statistic in (np.mean, np.std):
        found, expected = statistic(held, (0, 2, 3)), statistic(np.stack(truth), (0, 2, 3))
        # bilinear pixels at the edges of fields are between both fields
        np.testing.assert_allclose(found, expected, rtol=0.01)
    report = json.loads((place.out / "report.json").read_text())
    assert report["offset_contradicted"] == ["lying_new", "lying_old"]


def test_clearest_observation_is_taken(place: Place) -> None:
    box = place.box(0.02)
    place.world.add_s2("S2_cloudy", "2023-06-20", OLD, epsg=32632, bbox=box, cloudy=0.6)
    place.world.add_s1("S1_later", "2023-06-21", epsg=32632, bbox=box)
    fetch(place)
    records = json.loads((place.out / "report.json").read_text())["patches"]
    assert {tuple(record["s2"]) for record in records} == {("S2_clear",)}
    assert {tuple(record["s1"]) for record in records} == {("S1_near",)}
    assert {record["days_apart"] for record in records} == {2.0}


def test_nearest_radar_of_one_orbit(place: Place) -> None:
    box = place.box(0.02)
    place.world.add_s1("S1_same_day", "2023-06-01", epsg=32632, bbox=box, orbit="ascending")
    place.world.add_s1("S1_before", "2023-05-31", epsg=32632, bbox=box)
    fetch(place)
    records = json.loads((place.out / "report.json").read_text())["patches"]
    assert {tuple(record["s1"]) for record in records} == {("S1_before",)}


def test_clouds_become_missing_pixels(make_place: MakePlace) -> None:
    place = make_place(9.3, 48.0)
    box = place.box(0.02)
    place.world.add_s2("S2", "2023-06-01", OLD, epsg=32632, bbox=box, cloudy=0.5)
    place.world.add_s1("S1", "2023-06-02", epsg=32632, bbox=box)
    source = fetch(place, place.params(max_cloud=0.95))
    values = np.stack([read_raster(place.out / p, source.s2).values for p in source.manifest.s2])
    assert np.isnan(values).any()
    assert np.nanmax(values) < 9000
    assert max_error_of_seen(place, source) < 0.5


def max_error_of_seen(place: Place, source: Source) -> float:
    """Return the largest error over patches with few missing pixels."""
    report = json.loads((place.out / "report.json").read_text())["patches"]
    clear = [record["id"] for record in report if not record["cause"] and record["unclear"] < 0.1]
    manifest = source.manifest[source.manifest.id.isin(clear)]
    return max(errors(place, Source(source.s1, source.s2, {}, {}, manifest)))


def test_gaps_have_causes(make_place: MakePlace) -> None:
    place = make_place(9.3, 48.0)
    west, south, east, north = place.box(0.02)
    middle = 9.3
    place.world.add_s2(
        "S2_broken",
        "2023-06-01",
        OLD,
        epsg=32632,
        bbox=(west, south, middle, north),
        without="B04",
    )
    place.world.add_s2("S2", "2023-06-02", OLD, epsg=32632, bbox=(middle, south, east, north))
    place.world.add_s1("S1", "2023-06-03", epsg=32632, bbox=(west, south, east, 48.0))
    place.world.add_s1("late", "2023-09-03", epsg=32632, bbox=(west, 48.0, east, north))
    fetch(place)
    report = json.loads((place.out / "report.json").read_text())
    assert set(report["gaps"]) >= {"s2 without all bands", "no s1 near in time"}
    assert report["asked"] == report["found"] + sum(report["gaps"].values())
    assert (place.out / "report.png").read_bytes().startswith(b"\x89PNG")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".tif", ".json")
    }


def test_second_run_asks_for_nothing(place: Place) -> None:
    first = fetch(place)
    before, requests = files(place.out), place.files.count
    again = fetch(place)
    assert place.files.count == requests
    assert place.api.core.searches == 2
    assert files(place.out) == before
    assert again.manifest.equals(first.manifest)


def test_killed_run_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eocontrast.sources.stac.THREADS", 1)
    fetch(place)
    whole = files(place.out)
    other = place.folder / "other"
    other.mkdir()
    read, count = Reader._read, [0]

    def dies(self: Reader, patch: Patch) -> Record:
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        return read(self, patch)

    for _ in range(3):
        count[0] = 0
        monkeypatch.setattr("eocontrast.sources.stac.observe.Reader._read", dies)
        with pytest.raises(KeyboardInterrupt):
            stac.fetch(other, place.params(), workers=1)
    monkeypatch.setattr("eocontrast.sources.stac.observe.Reader._read", read)
    stac.fetch(other, place.params(), workers=1)
    assert files(other) == whole
    assert place.api.core.searches == 4


@pytest.mark.parametrize("fault", [503, 429, "cut"])
def test_failing_server_is_asked_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, fault: int | str
) -> None:
    fetch(place)
    whole = files(place.out)
    place.files.trouble = lambda number: fault if number % 17 == 0 else None
    monkeypatch.setattr("eocontrast.sources.stac.load.time.sleep", lambda _: None)
    monkeypatch.setitem(load.OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.01")
    other = place.folder / "other"
    other.mkdir()
    # another address, since GDAL remembers what it has read
    for item in place.world.items:
        for asset in item["assets"].values():
            asset["href"] = asset["href"].replace("127.0.0.1", "localhost")
    stac.fetch(other, place.params(), workers=1)
    same = {name: content for name, content in files(other).items() if name.endswith(".tif")}
    assert same == {name: content for name, content in whole.items() if name.endswith(".tif")}


def test_broken_server_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eocontrast.sources.stac.load.time.sleep", lambda _: None)
    monkeypatch.setitem(load.OPTIONS, "GDAL_HTTP_RETRY_DELAY", "0.01")
    place.files.trouble = lambda number: 404
    with pytest.raises(UserError, match=r"patch 32632_\d+_\d+ cannot be read: .*goes on with"):
        fetch(place)


def test_refusing_server_asks_for_credentials(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eocontrast.sources.stac.load.time.sleep", lambda _: None)
    place.files.trouble = lambda number: 403
    with pytest.raises(UserError, match=r"check your credentials \(AWS_ACCESS_KEY_ID"):
        fetch(place)


def fields(place: Place) -> LabelsParams:
    """Write a polygon of each crop within the area."""
    lon, lat = np.meshgrid(*(np.arange(c - 0.015, c + 0.012, 0.003) for c in (9.3, 48.0)))
    lon, lat = lon.ravel(), lat.ravel()
    names = np.array(["beet", "rye", "wheat"])[place.world.crop(lon + 1e-6, lat + 1e-6)]
    shapes = shapely.box(lon, lat, lon + 0.003, lat + 0.003)
    path = place.folder / "fields.gpkg"
    geopandas.GeoDataFrame({"crop": names}, geometry=shapes, crs=4326).to_file(path)
    return LabelsParams(path=path, class_column="crop")


def test_polygons_label_fetched_patches(place: Place) -> None:
    params = place.params(labels=fields(place))
    source = place_labels(fetch(place, params), place.out, params.labels)
    assert list(source.classes) == ["beet", "rye", "wheat"]
    assert (source.manifest.label != "").mean() > 0.5


def test_labelled_patches_come_first(place: Place) -> None:
    last = patches_of(place.params())[-1].footprint.centroid
    shapes = [last, shapely.affinity.translate(last, 0.0002)]
    corner = geopandas.GeoDataFrame({"crop": ["a", "b"]}, geometry=shapes, crs=4326)
    corner.to_file(place.folder / "points.geojson")
    labels = LabelsParams(path=place.folder / "points.geojson", class_column="crop")
    chosen = patches_of(place.params(patches=3, labels=labels))
    assert len(chosen) == 3
    assert any(patch.footprint.intersects(last) for patch in chosen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"dates": ("2020-05-01/2020-06-01",)},
            "no items of sentinel-1-rtc for .*in 2020-05-01.* but it has items of 2023-06-03",
        ),
        ({"orbit": "ascending"}, "1 items of sentinel-1-rtc .* none of an ascending orbit"),
        ({"bands": ("B02", "B12")}, "sentinel-2-l2a has no asset for B12; it has B02"),
        ({"block_km": 0.4}, "holds no two patches of 320 m"),
        ({"patch_size": 512, "block_km": 20}, "no patch of 5120 m fits"),
        ({"max_days_apart": 1}, r"none of \d+ patches has a pair \(no s1 near in time: \d+\)"),
    ],
)
def test_mistake_is_named(place: Place, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch(place, place.params(**changes))


def test_area_outside_the_catalogue_is_named(place: Place) -> None:
    swapped = geopandas.GeoDataFrame(geometry=[shapely.box(47.98, 9.28, 48.02, 9.32)], crs=4326)
    swapped.to_file(place.folder / "swapped.geojson")
    with pytest.raises(UserError, match=r"at any date; it spans 47.98, 9.28, .* swapped\?"):
        fetch(place, place.params(area=place.folder / "swapped.geojson"))


def test_unknown_asset_is_named(place: Place) -> None:
    params = place.params()
    s2 = params.catalog.s2.model_copy(update={"scene_classification": "scl"})
    catalog = params.catalog.model_copy(update={"s2": s2})
    with pytest.raises(UserError, match=r"no item of sentinel-2-l2a has an asset scl; .* has B02"):
        fetch(place, place.params(catalog=catalog))


def test_labels_beside_the_area_are_named(place: Place) -> None:
    away = geopandas.GeoDataFrame(
        {"crop": ["a", "b"]}, geometry=[shapely.Point(3, 40), shapely.Point(4, 41)], crs=4326
    )
    away.to_file(place.folder / "away.geojson")
    labels = LabelsParams(path=place.folder / "away.geojson", class_column="crop")
    with pytest.raises(UserError, match=r"labels no patch of .*: its labels span 3, 40, 4, 41"):
        fetch(place, place.params(labels=labels))


def test_silent_catalogue_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eocontrast.sources.stac.api.RETRIES", 0)
    params = place.params()
    place.api.stop()
    with pytest.raises(UserError, match="does not answer a search of sentinel-1-rtc"):
        fetch(place, params)
