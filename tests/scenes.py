"""Scenes with fields of three crops, as an analyst has them: two rasters and polygons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from raster_files import write_raster
from rasterio.crs import CRS
from rasterio.features import rasterize

LEFT, TOP = 500_000, 5_200_000
CROPS = ("maize", "rye", "wheat")
BANDS = ("B02", "B03", "B04", "B08")

# mean of each band and each polarisation by crop, far apart beside noise of 60 and 1 dB
_S2 = np.array([(400, 700, 500, 3500), (600, 900, 900, 2500), (900, 1200, 1600, 1800)])
_S1 = np.array([(-8, -14), (-11, -18), (-14, -23)])


@dataclass(frozen=True)
class Scene:
    """Paths of two images and of the labels, and the crop of every pixel."""

    s1: Path
    s2: Path
    labels: Path
    truth: np.ndarray


def write_scene(
    folder: Path, side: int = 480, field: int = 24, labelled: int = 40, s1_pixel: float = 10
) -> Scene:
    """Write a scene of `side` x `side` pixels whose fields are squares of `field` pixels.

    The image of Sentinel-1 is larger by 200 m on each side. Labels are in WGS84.
    """
    draws = np.random.default_rng(0)
    count = side // field
    crops = draws.integers(0, 3, (count, count))
    truth = crops.repeat(field, 0).repeat(field, 1)
    s2 = draws.normal(_S2[truth], 60).clip(1).transpose(2, 0, 1).astype(np.uint16)
    crs = CRS.from_epsg(32632)
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    write_raster(folder / "S2.tif", s2, crs=crs, transform=place, descriptions=BANDS)
    _write_s1(folder / "S1.tif", truth, s1_pixel, crs, draws)
    chosen = draws.permutation(count * count)[:labelled]
    shapes = [_field(place, field, *divmod(int(number), count)) for number in chosen]
    names = [CROPS[crops.ravel()[number]] for number in chosen]
    frame = geopandas.GeoDataFrame({"crop": names}, geometry=shapes, crs=crs)
    frame.to_crs(4326).to_file(folder / "fields.gpkg")
    return Scene(folder / "S1.tif", folder / "S2.tif", folder / "fields.gpkg", truth)


def _write_s1(
    path: Path, truth: np.ndarray, pixel: float, crs: CRS, draws: np.random.Generator
) -> None:
    margin = round(200 / pixel)
    size = round(len(truth) * 10 / pixel) + 2 * margin
    place = Affine(pixel, 0, LEFT - 200, 0, -pixel, TOP + 200)
    at = np.clip(((np.arange(size) + 0.5 - margin) * pixel / 10).astype(int), 0, len(truth) - 1)
    decibel = draws.normal(_S1[truth[np.ix_(at, at)]], 1).transpose(2, 0, 1)
    write_raster(
        path, decibel.astype(np.float32), crs=crs, transform=place, descriptions=("VV", "VH")
    )


def _field(place: Affine, field: int, row: int, col: int) -> shapely.Polygon:
    # a pixel of margin, as people draw them
    first, last = (field * col + 1, field * row + 1), (field * (col + 1) - 1, field * (row + 1) - 1)
    return shapely.box(*(place @ first), *(place @ last))


def label_raster(scene: Scene, path: Path) -> Path:
    """Write the labelled fields as a raster of 20 m."""
    frame = geopandas.read_file(scene.labels).to_crs(32632)
    with rasterio.open(scene.s2) as raster:
        place = raster.transform @ Affine.scale(2)
        shape = (raster.height // 2, raster.width // 2)
    values = [(g, CROPS.index(n) + 1) for g, n in zip(frame.geometry, frame.crop, strict=True)]
    mask = rasterize(values, shape, 0, transform=place, dtype="uint8")
    return write_raster(path, mask[None], crs=CRS.from_epsg(32632), transform=place)
