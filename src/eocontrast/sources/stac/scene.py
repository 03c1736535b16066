"""Two images of a whole area from a catalogue: cloudless where any observation was."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.windows import Window
from tqdm import tqdm

from eocontrast.config.catalogues import StacParams
from eocontrast.modalities import Sensor
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256, whole
from eocontrast.sources.labels.vectors import read_area
from eocontrast.sources.stac.catalogs import catalog_of
from eocontrast.sources.stac.load import quiet
from eocontrast.sources.stac.mosaic import Mosaicker
from eocontrast.sources.stac.patches import PIXEL, Patch, in_metres, unwrapped
from eocontrast.sources.stac.record import Record
from eocontrast.sources.stac.search import find_items

SIDE = 512
"""Side of a tile in pixels: blocks of Sentinel-2's COGs are 512 or 1024 pixels wide."""

THREADS = 4
"""Tiles that are read at a time; each holds 10 MB per observation and four bands."""

_MOST = 20_000
"""Most tiles of an area, 500,000 km2: all of it lies on the plane of one zone."""


def write_scene(
    params: StacParams, sensors: Collection[Sensor], folder: Path
) -> dict[Sensor, Path]:
    """Write one image of an area per sensor and return their paths.

    Pixels outside the area hold no data. A run that was stopped goes on where it was.

    Args:
        params: Area, dates and catalogue.
        sensors: Sensors to read, `s2` and perhaps `s1`.
        folder: Folder for images; each area, catalogue and range of dates has its own within.

    Raises:
        UserError: the catalogue or the area cannot be used, or nothing was found.
    """
    catalog, area = catalog_of(params.catalog), read_area(params.area)
    grid, tiles = lay_tiles(area, params.area)
    here = folder / _digest(params, sensors)
    here.mkdir(parents=True, exist_ok=True)
    s1, s2 = find_items(catalog, params, area, here, sensors)
    plane = in_metres(_unwrapped_area(area), tiles[0].epsg)
    reader = Mosaicker(sensors, plane, catalog, params, s1, s2, here)
    with quiet(), ThreadPoolExecutor(THREADS) as pool:
        reading = pool.map(reader.fetch, tiles)
        records = list(tqdm(reading, "tiles", len(tiles), unit="tile", disable=None))
    _report(records, here)
    kept = [tile for tile, record in zip(tiles, records, strict=True) if not record.cause]
    return {sensor: _assemble(here, sensor, grid, kept) for sensor in sensors}


def _digest(params: StacParams, sensors: Collection[Sensor]) -> str:
    names = ("catalog", "dates", "bands", "orbit", "max_days_apart")
    key = [params.model_dump(mode="json", include=set(names)), file_sha256(params.area)]
    return hashlib.sha256(json.dumps([*key, sorted(sensors)]).encode()).hexdigest()[:12]


def _unwrapped_area(area: shapely.Geometry) -> shapely.Geometry:
    """Return an area whose longitudes go on beyond 180 if it crosses the antimeridian."""
    west, _, east, _ = area.bounds
    if east - west <= 180:
        return area

    def turn(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([points[:, 0] % 360, points[:, 1]])

    # 180 itself stays, since 180 % 360 is 180, and -180 becomes 180
    return shapely.transform(area, turn)


def lay_tiles(area: shapely.Geometry, name: Path) -> tuple[Grid, list[Patch]]:
    """Return the grid of an area in the zone of its middle, and the tiles that touch the area.

    Raises:
        UserError: the area is too large for one image.
    """
    # of a cut area the middle would lie on the other side of the globe
    area = _unwrapped_area(area)
    middle = area.centroid
    # count zones of 6 degrees from 180 W; beyond 180 E they begin anew
    epsg = (32600 if middle.y >= 0 else 32700) + int((middle.x + 180) // 6) % 60 + 1
    plane = in_metres(area, epsg)
    left, bottom, right, top = plane.bounds
    # multiples of 10 m, where pixels of Sentinel-2 begin
    left, top = PIXEL * math.floor(left / PIXEL), PIXEL * math.ceil(top / PIXEL)
    width, height = math.ceil((right - left) / PIXEL), math.ceil((top - bottom) / PIXEL)
    columns, rows = math.ceil(width / SIDE), math.ceil(height / SIDE)
    if columns * rows > _MOST:
        raise UserError(
            f"{name} spans {width / 100:.0f} x {height / 100:.0f} km, too large for one image on "
            "the plane of one zone of UTM; map parts of it"
        )
    metres = PIXEL * SIDE
    back = unwrapped(Transformer.from_crs(epsg, 4326, always_xy=True), 6 * (epsg % 100) - 186)
    shapely.prepare(plane)
    tiles = []
    for row in range(rows):
        for column in range(columns):
            x, y = left + column * metres, top - row * metres
            square = shapely.box(x, y - metres, x + metres, y)
            if plane.intersects(square):
                name_ = f"r{row:03d}_c{column:03d}"
                outline = shapely.transform(square, back)
                tiles.append(Patch(name_, "", epsg, float(x), float(y), SIDE, outline))
    transform = Affine(PIXEL, 0, left, 0, -PIXEL, top)
    return Grid(CRS.from_epsg(epsg), transform, height, width), tiles


def _report(records: Sequence[Record], here: Path) -> None:
    """Print what was found, and refuse an area without any image."""
    gaps = {r.cause: sum(other.cause == r.cause for other in records) for r in records if r.cause}
    listed = ", ".join(f"{count} {cause}" for cause, count in sorted(gaps.items()))
    if sum(gaps.values()) == len(records):
        raise UserError(
            f"none of {len(records)} tiles has an image ({listed}); widen --dates, or check the "
            "area. Remove " + str(here) + " to ask the catalogue again"
        )
    used = {name for record in records for name in record.s2}
    missing = np.mean([record.unclear for record in records if not record.cause])
    shifted = {n for r in records for n, decision in r.offsets.items() if decision["present"]}
    print(
        f"area: {len(records)} tiles of {SIDE} pixels from {len(used)} items of Sentinel-2; the "
        f"offset of 1000 was taken off {len(shifted)} of them; {missing:.1%} of the pixels are "
        f"never seen clearly; tiles without images: {listed or 'none'}"
    )


def _assemble(here: Path, sensor: Sensor, grid: Grid, tiles: Sequence[Patch]) -> Path:
    """Write tiles into one image and return its path."""
    out = here / f"{sensor}.tif"
    with rasterio.open(here / sensor / f"{tiles[0].name}.tif") as first:
        profile = {"count": first.count, "dtype": first.dtypes[0], "nodata": first.nodata}
        names = first.descriptions
    shape = {"height": grid.height, "width": grid.width, "tiled": True, "compress": "deflate"}
    place = {"crs": grid.crs, "transform": grid.transform, "bigtiff": "if_safer"}
    with (
        whole(out) as partial,
        rasterio.open(partial, "w", driver="GTiff", **profile, **shape, **place) as file,
    ):
        file.descriptions = names
        for tile in tiles:
            column = round((tile.left - grid.transform.c) / PIXEL)
            row = round((grid.transform.f - tile.top) / PIXEL)
            # tiles reach beyond the area, the image does not
            height, width = min(SIDE, grid.height - row), min(SIDE, grid.width - column)
            with rasterio.open(here / sensor / f"{tile.name}.tif") as part:
                values = part.read()[:, :height, :width]
            file.write(values, window=Window(column, row, width, height))
    return out
