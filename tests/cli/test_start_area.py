import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from shipped import PARAMS

from eocontrast.cli.main import main
from eocontrast.config.params import load_params
from eocontrast.sources.stac.patches import patches_of


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped parameters, an area of 9 km and 40 fields of three crops."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    area = geopandas.GeoDataFrame(geometry=[shapely.box(9.0, 48.0, 9.12, 48.08)], crs=4326)
    area.to_file("area.geojson")
    draws = np.random.default_rng(0)
    lon, lat = draws.uniform(9.0, 9.118, 40), draws.uniform(48.0, 48.078, 40)
    names = np.array(["rye", "wheat", "beet"])[np.arange(40) % 3]
    fields = shapely.box(lon, lat, lon + 0.002, lat + 0.002)
    geopandas.GeoDataFrame({"crop": names}, geometry=fields, crs=4326).to_file("fields.gpkg")


def start(*options: str) -> int:
    area = ("--area", "area.geojson", "--dates", "2023-05/2023-09")
    return main(["start", *area, "--labels", "fields.gpkg", "--class-column", "crop", *options])


def test_area_fills_in_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert start() == 0
    told = capsys.readouterr().out
    assert "descending orbits" in told
    assert told.endswith("next: dvc repro\n")
    params = load_params()
    assert (params.data.pretrain, params.data.finetune) == ("stac", "stac")
    source = params.sources.stac
    assert source.dates == ("2023-05-01/2023-09-30",)
    assert source.classes == {"beet": 1, "rye": 2, "wheat": 3}
    patches = patches_of(source)
    assert 10 < len({patch.group for patch in patches}) < 60
    assert f"patches: {len(patches)} of 48 x 48" in told


def test_box_becomes_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert start("--area", "9.0,48.0,9.12,48.08", "--patch-size", "64") == 0
    assert "area: data/place/area.geojson, 80 km2, on EPSG:32632" in capsys.readouterr().out
    params = load_params()
    assert params.sources.stac.area == Path("data/place/area.geojson")
    assert params.sources.stac.patch_size == 64
    assert params.backbones["swin"].options["img_size"] == 64


def test_box_crosses_the_antimeridian(capsys: pytest.CaptureFixture[str]) -> None:
    fields = geopandas.read_file("fields.gpkg")
    fields.geometry = fields.geometry.translate(170.94)
    fields.to_file("fields.gpkg")
    assert start("--area", "179.94,48.0,-179.94,48.08") == 0
    assert "on EPSG:32601, EPSG:32660" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dates", "2023-09/2023-05"), "dates is "),
        (("--dates", "summer"), "Expected ranges such as 2023-05-01/2023-09-30"),
        (("--area", "none.geojson"), "no file; expected a file of polygons, or a box"),
        (("--area", "9,49,10,48"), "south < north"),
        (("--area", "3,40,3.1,40.1"), "is the CRS of both right?"),
        (("--area", "9.0,48.0,9.001,48.001"), "no patch of 480 m fits"),
        (("--class-column", "kind"), "no column 'kind'; its columns are: crop"),
        (("--catalog", "mine"), "expected one of planetary_computer, earth_search, earth_s"),
        (("--catalog", "copernicus"), "variable AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is"),
        (("--block", "200"), "all labels lie in 1 block"),
        (("--s1", "S1.tif"), "pass --s1 or --area"),
    ],
)
def test_mistake_is_named(
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    before = Path("params.yaml").read_bytes()
    assert start(*options) == 2
    assert message in capsys.readouterr().err
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("shape", "crs", "message"),
    [
        (shapely.box(9.0, 48.0, 9.12, 48.08), None, "does not say its coordinate reference system"),
        (shapely.Point(9.0, 48.0), 4326, "expected the outline of an area as polygons"),
        (
            shapely.LineString([(9.0, 48.0), (9.1, 48.1)]),
            4326,
            "expected the outline of an area as polygons",
        ),
    ],
    ids=["no CRS", "point", "line"],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_unfit_area_is_named(
    shape: shapely.Geometry, crs: int | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    geopandas.GeoDataFrame(geometry=[shape], crs=crs).to_file("odd.gpkg")
    assert start("--area", "odd.gpkg") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(crop="rye"), "column crop holds one class, rye; expected two or more"),
        (lambda f: f.set_crs(None, allow_override=True), "does not say its coordinate reference"),
        (lambda f: f.assign(geometry=[*f.geometry[:-1], shapely.Point(9, 48)]), "points alone"),
        (
            lambda f: f.assign(crop=None),
            "none of 40 features has both a geometry and",
        ),
    ],
    ids=["one class", "no CRS", "mixed", "no values"],
)
@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_unfit_labels_are_named(
    change: Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(geopandas.read_file("fields.gpkg")).to_file("odd.gpkg")
    before = Path("params.yaml").read_bytes()
    assert start("--labels", "odd.gpkg") == 2
    assert message in capsys.readouterr().err
    assert Path("params.yaml").read_bytes() == before
