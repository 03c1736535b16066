"""Runs a user's commands from an area, dates and polygons to the curve and a map."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.warp
import shapely
from browser import SCREENSHOTS
from clones import clone_to, keep_arms, run, shrink
from ruamel.yaml import YAML
from stac_server import FileServer, StacServer
from stac_world import BANDS, PLANETARY, World

pytestmark = pytest.mark.slow

HALF = 0.015
"""Degrees from the middle of the area to its sides: 2.2 x 3.3 km."""

CROPS = ("beet", "rye", "wheat")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A ground with scenes of two baselines, and the address of its catalogue."""
    (tmp_path / "cogs").mkdir()
    files = FileServer(tmp_path / "cogs")
    world = World(tmp_path / "cogs", 9.3, 48.0, files.url)
    west, south, east, north = 9.282, 47.982, 9.318, 48.018
    for name, date, box, offset in (
        ("S2A_west", "2023-06-01", (west, south, 9.302, north), 0),
        ("S2B_east", "2023-06-11", (9.298, south, east, north), 1000),
    ):
        stated = {"s2:processing_baseline": "05.09" if offset else "02.14"}
        world.add_s2(name, date, stated, epsg=32632, bbox=box, offset=offset)
    world.add_s1("S1_first", "2023-06-03", epsg=32632, bbox=(west, south, east, north))
    world.add_s1("S1_second", "2023-06-09", epsg=32632, bbox=(west, south, east, north))
    api = StacServer(world.items)
    # every 17th request of a file is refused, and the source asks again
    files.trouble = lambda number: 503 if number % 17 == 0 else None
    yield world, api.url
    api.stop()
    files.stop()


def local(params: dict[str, Any], url: str) -> None:
    """Tiny stages of one init, and the catalogue of this machine."""
    shrink(params)
    curve, only = params["label_curve"], "random_resnet"
    # nine stages: each starts Python and imports torch, which takes longer than what it does here
    params["pretrain"]["runs"] = {only: params["pretrain"]["runs"][only]}
    keep_arms(curve, ("unet",))
    curve |= {"fractions": [0.3, 1.0], "seeds": [0], "ensembles": {}}
    params["qualitative"] |= {"arms": ["unet"]}
    params["finetune"]["arm"] = "unet"
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
    """Write the area, and a polygon in every second field of it."""
    area = shapely.box(*(c + s for s in (-HALF, HALF) for c in (world.lon, world.lat)))
    geopandas.GeoDataFrame(geometry=[area], crs=4326).to_file(folder / "area.geojson")
    steps = np.arange(-15, 15, 3) / 1000
    lon, lat = (n.ravel() for n in np.meshgrid(world.lon + steps, world.lat + steps))
    lon, lat = lon[::2], lat[::2]
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


def keep_figures(clone: Path) -> None:
    """Keep the figures of docs/place.md if the environment names a folder for them."""
    folder = os.environ.get(SCREENSHOTS)
    if not folder:
        return
    shutil.copy(clone / "metrics/label_curve.png", Path(folder, "place_curve.png"))
    (scene,) = (clone / "data/raw/scenes").glob("*/s2.tif")
    with rasterio.open(scene) as raster:
        bands, box = raster.read(), raster.bounds
        crs = raster.crs
    fields = geopandas.read_file(clone / "fields.gpkg").to_crs(crs)
    found = geopandas.read_file(clone / "map.gpkg")
    figure, panels = plt.subplots(1, 2, figsize=(8, 5.2), layout="constrained", sharey=True)
    stretched = np.clip(bands[[3, 2, 1]] / [[[4500]], [[2500]], [[4500]]], 0, 1)
    panels[0].imshow(np.moveaxis(stretched, 0, -1), extent=(box[0], box[2], box[1], box[3]))
    colours = dict(zip(CROPS, ("#d55e00", "#f0e442", "#009e73"), strict=True))
    for crop, colour in colours.items():
        fields[fields.crop == crop].boundary.plot(ax=panels[0], color="white", linewidth=1)
        found[found["class"] == crop].plot(
            ax=panels[1], color=colour, edgecolor="0.2", linewidth=0.3
        )
        panels[1].plot([], [], "s", color=colour, label=crop)
    for axes, title in zip(
        panels, ("Sentinel-2 and the polygons", "polygons of the map"), strict=True
    ):
        axes.set_title(title)
        axes.set_axis_off()
        axes.set_aspect("equal")
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(Path(folder, "place_map.png"), dpi=80, metadata={"Software": None})
    plt.close(figure)


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
    assert set(curve["arm"]) == {"unet"}
    few, every = (set(curve.n_shapes[curve.fraction == f]) for f in (0.3, 1.0))
    assert 3 <= max(few) < max(every) < 50  # some of the 50 polygons are tested on
    catalogue = json.loads((clone / "metrics/audit/stac.json").read_text())["catalogue"]
    assert catalogue["asked"] == catalogue["found"] > 20
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
    assert polygons.area_m2.sum() > 0.9 * 2230 * 3330
    keep_figures(clone)
    with (clone / "params.yaml").open() as file:
        assert YAML(typ="safe").load(file)["finetune"]["arm"] == "unet"
    shutil.rmtree(clone)
