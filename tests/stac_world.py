"""A simulated ground seen by both sensors, as COGs with the items of a catalogue around them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

FIELD_DEGREES = 0.003
"""Side of a field, 220 to 330 m."""

BANDS = ("B02", "B03", "B04", "B08")
PLANETARY = {band: band for band in BANDS} | {"SCL": "SCL"}
EARTH_SEARCH = dict(zip((*BANDS, "SCL"), ("blue", "green", "red", "nir", "scl"), strict=True))
PER_DEGREE = 30_000
"""Digital numbers that B02 rises by with longitude, and B03 with latitude: 3 to 5 per pixel."""


@dataclass
class World:
    """Scenes around a point, and the items that describe them.

    Attributes:
        folder: Folder of the COGs.
        lon: Longitude of the point.
        lat: Latitude of the point.
        url: Address under which the folder is served.
        items: Items so far.
    """

    folder: Path
    lon: float
    lat: float
    url: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)

    def crop(self, lon: NDArray[Any], lat: NDArray[Any]) -> NDArray[np.intp]:
        """Return the crop of each place, 0 to 2."""
        column, row = (np.floor(place / FIELD_DEGREES).astype(int) for place in (lon, lat))
        mixed = (column * 7919 + row * 104729) ^ (column * row * 31)
        return np.asarray(mixed % 1009 % 3, dtype=np.intp)

    def optical(self, lon: NDArray[Any], lat: NDArray[Any]) -> NDArray[np.float64]:
        """Return digital numbers of four bands without the offset; two of them tell the place."""
        crop = self.crop(lon, lat)
        red = np.array([300.0, 900.0, 1700.0])[crop]
        # dark ground in two bands, as real scenes have it: the offset is told by half of the bands
        infrared = np.array([3600.0, 2600.0, 400.0])[crop]
        places = [
            2000 + PER_DEGREE * ((lon - self.lon + 180) % 360 - 180),
            2000 + PER_DEGREE * (lat - self.lat),
        ]
        return np.stack([*places, red, infrared])

    def radar(self, lon: NDArray[Any], lat: NDArray[Any]) -> NDArray[np.float64]:
        """Return power of VV and VH."""
        decibel = np.array([(-7, -13), (-11, -18), (-15, -24)])[self.crop(lon, lat)]
        power: NDArray[np.float64] = 10 ** (np.moveaxis(decibel, -1, 0) / 10)
        return power

    def add_s2(
        self,
        name: str,
        date: str,
        properties: Mapping[str, object],
        *,
        epsg: int,
        bbox: tuple[float, float, float, float],
        offset: int = 0,
        names: Mapping[str, str] = PLANETARY,
        cloudy: float = 0.0,
        without: str = "",
        tile: str = "",
    ) -> None:
        """Write a scene of Sentinel-2; `offset` is in its pixels, `cloudy` covers its west."""
        lon, lat, transform = _pixels(epsg, bbox)
        inside = (bbox[0] <= lon) & (lon <= bbox[2]) & (bbox[1] <= lat) & (lat <= bbox[3])
        numbers = np.where(inside, np.rint(self.optical(lon, lat)) + offset, 0)
        classes = np.where(inside, 4, 0)
        border = bbox[0] + cloudy * (bbox[2] - bbox[0])
        clouds = inside & (lon < border)
        classes[clouds] = 9
        numbers[:, clouds] = 9000
        layers = dict(zip(BANDS, numbers, strict=True))
        assets = {}
        for band, values in {**layers, "SCL": classes[::2, ::2]}.items():
            if band == without:
                continue
            scale = Affine.scale(2) if band == "SCL" else Affine.identity()
            dtype = "uint8" if band == "SCL" else "uint16"
            file = f"{name}_{band}.tif"
            _write_cog(self.folder / file, values.astype(dtype), epsg, transform @ scale, 0)
            assets[names[band]] = self._asset(file, dtype, 0)
        stated: dict[str, object] = {"eo:cloud_cover": 100 * cloudy, "s2:mgrs_tile": tile or name}
        self._add(name, "sentinel-2-l2a", date, epsg, bbox, assets, {**stated, **properties})

    def add_s1(
        self,
        name: str,
        date: str,
        *,
        epsg: int,
        bbox: tuple[float, float, float, float],
        orbit: str = "descending",
    ) -> None:
        """Write a terrain-corrected scene of Sentinel-1 as the Planetary Computer has them."""
        lon, lat, transform = _pixels(epsg, bbox)
        inside = (bbox[0] <= lon) & (lon <= bbox[2]) & (bbox[1] <= lat) & (lat <= bbox[3])
        draws = np.random.default_rng(len(self.items))
        speckle = draws.gamma(8, 1 / 8, (2, *lon.shape))
        power = np.where(inside, self.radar(lon, lat) * speckle, -32768)
        assets = {}
        for asset, values in zip(("vv", "vh"), power, strict=True):
            file = f"{name}_{asset}.tif"
            _write_cog(self.folder / file, values.astype("float32"), epsg, transform, -32768)
            assets[asset] = self._asset(file, "float32", -32768)
        stated = {"sat:orbit_state": orbit, "sat:relative_orbit": 66}
        self._add(name, "sentinel-1-rtc", date, epsg, bbox, assets, stated)

    def add_cover(self, name: str, year: int, bbox: tuple[float, float, float, float]) -> None:
        """Write land cover in degrees, as ESA WorldCover has it: crops are 10, 30 and 40."""
        west, south, east, north = bbox
        step = 1 / 12000
        width, height = (round(size / step) for size in (east - west, north - south))
        lon = west + step * (np.arange(width) + 0.5)
        lat = north - step * (np.arange(height) + 0.5)
        values = np.array([10, 30, 40], np.uint8)[self.crop(*np.meshgrid(lon, lat))]
        transform = Affine(step, 0, west, 0, -step, north)
        _write_cog(self.folder / f"{name}_map.tif", values, 4326, transform, 0)
        assets = {"map": self._asset(f"{name}_map.tif", "uint8", 0)}
        ends = (f"{year}-01-01T00:00:00Z", f"{year}-12-31T23:59:59Z")
        stated = {"datetime": None, "start_datetime": ends[0], "end_datetime": ends[1]}
        self._add(name, "esa-worldcover", "", 4326, bbox, assets, stated)

    def _asset(self, file: str, dtype: str, nodata: int) -> dict[str, Any]:
        return {
            "href": f"{self.url}/{file}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "raster:bands": [{"data_type": dtype, "nodata": nodata}],
        }

    def _add(
        self,
        name: str,
        collection: str,
        date: str,
        epsg: int,
        bbox: tuple[float, float, float, float],
        assets: dict[str, Any],
        properties: Mapping[str, object],
    ) -> None:
        self.items.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "stac_extensions": [
                    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
                    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
                ],
                "id": name,
                "collection": collection,
                "bbox": list(bbox),
                "geometry": json.loads(json.dumps(shapely.geometry.mapping(outline(bbox)))),
                "properties": {"datetime": f"{date}T10:10:00Z", "proj:epsg": epsg, **properties},
                "assets": assets,
                "links": [],
            }
        )


COVER: dict[str, Any] = {
    "type": "Collection",
    "id": "esa-worldcover",
    "stac_version": "1.0.0",
    "description": "land cover",
    "license": "CC-BY-4.0",
    "links": [],
    "extent": {
        "spatial": {"bbox": [[-180, -60, 180, 82.75]]},
        "temporal": {"interval": [["2020-01-01T00:00:00Z", "2021-12-31T23:59:59Z"]]},
    },
    "item_assets": {
        "map": {
            "classification:classes": [
                {"value": 10, "description": "Tree cover", "color-hint": "006400"},
                {"value": 20, "description": "Shrubland", "color-hint": "FFBB22"},
                {"value": 30, "description": "Grassland", "color-hint": "FFFF4C"},
                {"value": 40, "description": "Cropland", "color-hint": "F096FF"},
            ]
        }
    },
}
"""Metadata as in https://github.com/stactools-packages/esa-worldcover, with four classes."""


def outline(bbox: tuple[float, float, float, float]) -> shapely.Geometry:
    """Return a box, in two parts if it reaches beyond the antimeridian, as GeoJSON asks for."""
    west, south, east, north = bbox
    if east <= 180:
        return shapely.box(*bbox)
    parts = [(west, south, 180, north), (-180, south, east - 360, north)]
    return shapely.MultiPolygon([shapely.box(*part) for part in parts])


def _pixels(
    epsg: int, bbox: tuple[float, float, float, float]
) -> tuple[NDArray[Any], NDArray[Any], Affine]:
    """Return longitude and latitude of the pixels of 10 m around a box, and their transform."""
    forth = Transformer.from_crs(4326, epsg, always_xy=True)
    left, bottom, right, top = forth.transform_bounds(*bbox)
    left, top = 20 * np.floor(left / 20), 20 * np.ceil(top / 20)
    width, height = (2 * int(np.ceil(n / 20)) for n in (right - left, top - bottom))
    x = left + 10 * (np.arange(width) + 0.5)
    y = top - 10 * (np.arange(height) + 0.5)
    back = Transformer.from_crs(epsg, 4326, always_xy=True)
    lon, lat = back.transform(*np.meshgrid(x, y))
    lon = (lon - bbox[0] + 90) % 360 - 90 + bbox[0]  # no jump at the antimeridian
    return lon, lat, Affine(10, 0, left, 0, -10, top)


def _write_cog(
    path: Path, values: NDArray[Any], epsg: int, transform: Affine, nodata: float
) -> None:
    height, width = values.shape
    draft = path.with_suffix(".draft")
    shape = {"count": 1, "height": height, "width": width, "dtype": values.dtype}
    place = {"crs": f"EPSG:{epsg}", "transform": transform, "nodata": nodata}
    with rasterio.open(draft, "w", driver="GTiff", **shape, **place) as file:
        file.write(values, 1)
    rasterio.shutil.copy(draft, path, driver="COG", blocksize=256, overview_resampling="NEAREST")
    draft.unlink()
