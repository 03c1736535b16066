"""Runs a user's commands from an area, dates and polygons to the curve and a map."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.warp
import shapely
from clones import clone_to, run, shrink_further
from ruamel.yaml import YAML
from stac_server import FileServer, StacServer
from stac_world import BANDS, PLANETARY, World

pytestmark = [pytest.mark.slow, pytest.mark.long]

HALF = 0.025
"""Degrees from the middle of the area to its sides: 3.7 x 5.6 km."""

CROPS = ("beet", "rye", "wheat")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A ground with scenes of two baselines, and the address of its catalogue."""
    (tmp_path / "cogs").mkdir()
    files = FileServer(tmp_path / "cogs")
    world = World(tmp_path / "cogs", 9.3, 48.0, files.url)
    west, south, east, north = 9.272, 47.972, 9.328, 48.028
    for name, date, box, offset in (
        ("S2A_west", "2023-06-01", (west, south, 9.302, north), 0),
        ("S2B_east", "2023-06-11", (9.298, south, east, north), 1000),
    ):
        stated = {"s2:processing_baseline": "05.09" if offset else "02.14"}
        world.add_s2(name, date, stated, epsg=32632, bbox=box, offset=offset)
    world.add_s1("S1_first", "2023-06-03", epsg=32632, bbox=(west, south, east, north))
    world.add_s1("S1_second", "2023-06-09", epsg=32632, bbox=(west, south, east, north))
    api = StacServer(world.items)
    # every 17th request is refused, and the source asks again
    files.trouble = lambda number: 503 if number % 17 == 0 else None
    yield world, api.url
    api.stop()
    files.stop()


def local(params: dict[str, Any], url: str) -> None:
    """Tiny stages, and the catalogue of this machine."""
    shrink_further(params)
    params["label_curve"]["fractions"] = [0.2, 1.0]
    params["finetune"]["recipe"]["segmentation"]["min_steps"] = 80
    common = {"url": url, "signing": "none", "headers": {}}
    params["sources"]["stac"]["bands"] = list(BANDS)
    params["sources"]["stac"]["catalog"] = {
        "s1": {
            **common,
            "collection": "sentinel-1-rtc",
            "assets": {"VV": "vv", "VH": "vh"},
            "units": "linear",
            "scene_classification": None,
        },
        "s2": {
            **common,
            "collection": "sentinel-2-l2a",
            "assets": {band: PLANETARY[band] for band in BANDS},
            "units": "DN",
            "scene_classification": "SCL",
        },
    }


def write_inputs(world: World, folder: Path) -> None:
    """Write the area, and a polygon in every third field of it."""
    area = shapely.box(*(c + s for s in (-HALF, HALF) for c in (world.lon, world.lat)))
    geopandas.GeoDataFrame(geometry=[area], crs=4326).to_file(folder / "area.geojson")
    steps = np.arange(-24, 24, 3) / 1000
    lon, lat = (n.ravel() for n in np.meshgrid(world.lon + steps, world.lat + steps))
    lon, lat = lon[::3], lat[::3]
    names = np.array(CROPS)[world.crop(lon + 0.0015, lat + 0.0015)]
    fields = shapely.box(lon + 0.0003, lat + 0.0003, lon + 0.0027, lat + 0.0027)
    frame = geopandas.GeoDataFrame({"crop": names}, geometry=fields, crs=4326)
    frame.to_crs(32632).to_file(folder / "fields.gpkg")


def share_right(world: World, file: Path) -> float:
    """Return the share of a map's pixels in the area that have the class of the ground."""
    with rasterio.open(file) as raster:
        classes = raster.read(1)
        rows, columns = np.nonzero(classes)
        x, y = rasterio.transform.xy(raster.transform, rows, columns)
        lon, lat = rasterio.warp.transform(raster.crs, "EPSG:4326", x, y)
    assert (classes > 0).mean() > 0.9
    truth = world.crop(np.array(lon), np.array(lat))
    return float((classes[classes > 0] - 1 == truth).mean())


def test_area_and_polygons_end_in_a_map(world: tuple[World, str], tmp_path: Path) -> None:
    ground, url = world
    clone = clone_to(tmp_path / "clone", partial(local, url=url))
    write_inputs(ground, clone)
    place = ("--area", "area.geojson", "--dates", "2023-05/2023-09")
    labels = ("--labels", "fields.gpkg", "--class-column", "crop", "--patch-size", "32")
    told = run(clone, "eocontrast", "start", *place, *labels)
    assert "next: dvc repro" in told
    told = run(clone, "dvc", "repro")
    assert "have a pair; gaps: none" in told
    assert (clone / "metrics/label_curve.png").read_bytes().startswith(b"\x89PNG")
    curve = pd.read_csv(clone / "metrics/label_curve.csv")
    assert {"s2", "dual_simclr", "unet"} <= set(curve["arm"])
    catalogue = json.loads((clone / "metrics/audit/stac.json").read_text())["catalogue"]
    assert catalogue["asked"] == catalogue["found"] > 50
    (model,) = (clone / "models/finetuned").glob("*.safetensors")
    told = run(
        clone,
        *("eocontrast", "predict", str(model), *place, "-o", "map.tif"),
        *("--polygons", "map.gpkg", "--sieve", "9"),
    )
    assert "the offset of 1000 was taken off 1" in told
    assert share_right(ground, clone / "map.tif") > 0.8
    polygons = geopandas.read_file(clone / "map.gpkg")
    assert set(polygons["class"]) == set(CROPS)
    assert polygons.area_m2.sum() > 0.9 * 3700 * 5560
    with (clone / "params.yaml").open() as file:
        assert YAML(typ="safe").load(file)["finetune"]["arm"] == "unet"
    shutil.rmtree(clone)
