"""A map as polygons: neighbouring pixels of one class, with area and mean confidence."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes, sieve

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_possible, refuse_existing

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".parquet": ""}
"""GDAL's driver by suffix; GeoParquet is written by pyarrow."""


def check_polygons(out: Path, overwrite: bool) -> None:
    """Check the name of a vector file before a map is made for it.

    Raises:
        UserError: its suffix is unknown, or it exists.
    """
    if out.suffix.lower() not in DRIVERS:
        raise UserError(f"{out} is no vector file; expected {', '.join(DRIVERS)}")
    refuse_existing(out, overwrite)


def write_polygons(
    classes: Path, confidence: Path, names: tuple[str, ...], out: Path, smallest: int
) -> int:
    """Write the regions of a map and return their number.

    The map is held in memory: 10 bytes per pixel, 1.2 GB for a tile of Sentinel-2.

    Args:
        classes: Map of the classes: 0 for no data, else 1 + the index of the class.
        confidence: Its confidence in band 1.
        names: Names of the classes by index.
        out: Path of the polygons: `class`, `area_m2`, `pixels`, `confidence` and the outline.
        smallest: Regions of fewer pixels join their largest neighbour; 0 keeps all.
    """
    with rasterio.open(classes) as file:
        values, transform, crs = file.read(1), file.transform, file.crs
    # join by sides, never by corners: rasterio's sieve and shapes take four neighbours by default
    if smallest > 1:
        # no data stays no data, and is no neighbour that a region could join
        values = np.where(values > 0, sieve(values, smallest, mask=values > 0), 0).astype(np.uint8)
    found = list(shapes(values, mask=values > 0, transform=transform))
    outlines = np.array([shapely.geometry.shape(outline) for outline, _ in found], dtype=object)
    # 0 is no data in a map
    index = np.array([int(value) - 1 for _, value in found], dtype=np.intp)
    pixels, means = _means(confidence, outlines, values.shape, transform)
    frame = geopandas.GeoDataFrame(
        {
            "class": np.array(names, dtype=object)[index],
            "pixels": pixels,
            "confidence": means.round(3),
        },
        geometry=outlines,
        crs=crs,
    )
    frame.insert(1, "area_m2", _square_metres(frame).round(1))
    _write(frame, out)
    return len(frame)


def _means(
    confidence: Path,
    outlines: NDArray[np.object_],
    shape: tuple[int, int],
    transform: rasterio.Affine,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pixels of each region and the mean of its confidence."""
    with rasterio.open(confidence) as file:
        held = file.read(1) * file.scales[0]
    if not len(outlines):
        return np.zeros(0, np.int64), np.zeros(0)
    numbered = ((outline, number) for number, outline in enumerate(outlines, start=1))
    region = rasterize(numbered, shape, 0, transform=transform, dtype="int32").ravel()
    count = len(outlines) + 1
    pixels = np.bincount(region, minlength=count)
    sums = np.bincount(region, weights=held.ravel(), minlength=count)
    return pixels[1:], sums[1:] / np.maximum(pixels[1:], 1)


def _square_metres(frame: geopandas.GeoDataFrame) -> NDArray[np.float64]:
    """Return areas: on the map's plane if it has metres, else on the ellipsoid."""
    if frame.crs is None or frame.crs.is_projected or frame.empty:
        # a plane may have feet
        factor = frame.crs.axis_info[0].unit_conversion_factor if frame.crs else 1.0
        areas: NDArray[np.float64] = frame.area.to_numpy() * factor**2
        return areas
    # a square degree shrinks towards the poles
    ellipsoid = frame.crs.get_geod()
    return np.array([abs(ellipsoid.geometry_area_perimeter(g)[0]) for g in frame.geometry])


def _write(frame: geopandas.GeoDataFrame, out: Path) -> None:
    suffix = out.suffix.lower()
    # GeoJSON is in longitude and latitude by its standard
    frame = frame.to_crs(4326) if suffix == ".geojson" and frame.crs else frame
    check_possible(out)
    # GDAL wants the final name, and a Shapefile is several files
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.") as folder:
        draft = Path(folder, out.name)
        if suffix == ".parquet":
            frame.to_parquet(draft, index=False)
        else:
            frame.to_file(draft, driver=DRIVERS[suffix], engine="pyogrio")
        for file in sorted(Path(folder).iterdir()):
            file.replace(out.with_name(file.name))
