"""A catalogue of simulated scenes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import pytest
from stac_server import FileServer, StacServer
from stac_world import BANDS, PLANETARY, World, outline

from eocontrast.config.catalogues import CollectionParams, OwnCatalogParams, StacParams
from eocontrast.config.labels import LabelsParams
from eocontrast.modalities import Units


class Place:
    """A world, its servers, and the parameters of a source that reads from them."""

    def __init__(self, folder: Path, lon: float, lat: float) -> None:
        (folder / "cogs").mkdir()
        self.folder, self.out = folder, folder / "out"
        self.out.mkdir()
        self.files = FileServer(folder / "cogs")
        self.world = World(folder / "cogs", lon, lat, self.files.url)
        self.api = StacServer(self.world.items)
        (folder / "labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')

    def box(self, half: float) -> tuple[float, float, float, float]:
        """Return a box of twice `half` degrees around the point."""
        lon, lat = self.world.lon, self.world.lat
        return lon - half, lat - half, lon + half, lat + half

    def params(self, half: float = 0.015, **changes: object) -> StacParams:
        """Return parameters of a square area around the point."""
        area = self.folder / "area.geojson"
        if not area.exists():
            geopandas.GeoDataFrame(geometry=[outline(self.box(half))], crs=4326).to_file(area)
        assets = {band: PLANETARY[band] for band in BANDS}
        defaults: dict[str, Any] = {
            "catalog": OwnCatalogParams(
                s1=self.collection("sentinel-1-rtc", {"VV": "vv", "VH": "vh"}, "linear", None),
                s2=self.collection("sentinel-2-l2a", assets, "DN", "SCL"),
            ),
            "area": area,
            "dates": ("2023-05-01/2023-09-30",),
            "bands": BANDS,
            "orbit": "descending",
            "patch_size": 32,
            "patches": 500,
            "max_cloud": 0.1,
            "max_days_apart": 6,
            "block_km": 1,
            "seed": 0,
            "classes": {},
            "label_collection": "none",
            "labels": LabelsParams(path=self.folder / "labels.geojson", class_column="crop"),
        }
        return StacParams(**{**defaults, **changes})

    def collection(
        self, name: str, assets: dict[str, str], units: Units, scl: str | None
    ) -> CollectionParams:
        """Return a collection of the API on this machine."""
        return CollectionParams(
            url=self.api.url,
            collection=name,
            assets=assets,
            units=units,
            scene_classification=scl,
            signing="none",
            headers={},
        )

    def stop(self) -> None:
        """Stop both servers."""
        self.api.stop()
        self.files.stop()


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[[float, float], Place]]:
    """Return a function that starts the servers of a place."""
    places: list[Place] = []

    def make(lon: float, lat: float) -> Place:
        folder = tmp_path / f"place{len(places)}"
        folder.mkdir()
        places.append(Place(folder, lon, lat))
        return places[-1]

    yield make
    for place in places:
        place.stop()


@pytest.fixture
def place(make_place: Callable[[float, float], Place]) -> Place:
    """A place in zone 32 with one clear pair of scenes."""
    place = make_place(9.3, 48.0)
    box = place.box(0.02)
    place.world.add_s2(
        "S2_clear", "2023-06-01", {"s2:processing_baseline": "02.14"}, epsg=32632, bbox=box
    )
    place.world.add_s1("S1_near", "2023-06-03", epsg=32632, bbox=box)
    return place
