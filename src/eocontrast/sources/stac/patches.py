"""Patches on the UTM grids of an area, in blocks with a free row between them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.affinity
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.crs import CRS

from eocontrast.config.catalogues import StacParams
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.errors import UserError
from eocontrast.sources.labels.vectors import SUFFIXES, read_area, read_vectors

PIXEL = 10
"""Metres."""

_MOST = 2_000_000
"""Most cells of a grid; 48 px patches of an area as large as Germany are 1.6 million."""


@dataclass(frozen=True)
class Patch:
    """A square of a UTM grid.

    Attributes:
        name: Zone, and column and row of the grid.
        group: Block that it lies in.
        epsg: Code of the UTM zone.
        left: Easting of its corner in metres.
        top: Northing of its corner in metres.
        side: Side in pixels.
        footprint: Outline in longitude and latitude.
    """

    name: str
    group: str
    epsg: int
    left: float
    top: float
    side: int
    footprint: shapely.Polygon

    @property
    def grid(self) -> Grid:
        """Grid of its pixels."""
        transform = Affine(PIXEL, 0, self.left, 0, -PIXEL, self.top)
        return Grid(CRS.from_epsg(self.epsg), transform, self.side, self.side)


def patches_of(params: StacParams) -> list[Patch]:
    """Return the patches of an area: all of them, or a sample in which labels come first.

    A patch belongs to the zone that its centre lies in, and lies wholly in the area.

    Raises:
        UserError: the area or the labels cannot be read, or no patch fits.
    """
    area = read_area(params.area)
    every: list[Patch] = []
    for epsg in _zones(area):
        found = _in_zone(around(area), epsg, params)
        # two grids meet where zones do: patches over those of the zone before are left out
        tree = shapely.STRtree([around(patch.footprint) for patch in every])
        over = tree.query([p.footprint for p in found], "intersects")[0] if every else []
        blocked = set(np.asarray(over, dtype=int).tolist())
        every += [patch for number, patch in enumerate(found) if number not in blocked]
    if not every:
        width = PIXEL * params.patch_size
        raise UserError(
            f"no patch of {width} m fits into {params.area}; choose a smaller patch_size or a "
            "larger area"
        )
    return _sampled(every, params)


def _zones(area: shapely.Geometry) -> list[int]:
    """Return the EPSG codes of the UTM zones that an area touches."""
    codes = []
    for zone in range(1, 61):
        west = -180 + 6 * (zone - 1)
        # stop at 84 N and 80 S, where UTM ends
        for first, south, north in ((32600, 0, 84), (32700, -80, 0)):
            if area.intersects(shapely.box(west, south, west + 6, north)):
                codes.append(first + zone)
    return codes


def _in_zone(area: shapely.Geometry, epsg: int, params: StacParams) -> list[Patch]:
    zone, southern = epsg % 100, epsg >= 32700
    west = -180 + 6 * (zone - 1)
    south, north = (-80, 0) if southern else (0, 84)
    back = Transformer.from_crs(epsg, 4326, always_xy=True)
    # a patch may reach beyond its zone
    near = area.intersection(shapely.box(west - 0.2, south - 0.2, west + 6.2, north + 0.2))
    if near.is_empty or near.area == 0:
        return []
    metres = in_metres(near, epsg)
    size = PIXEL * params.patch_size
    in_block = round(1000 * params.block_km / size)
    if in_block < 2:
        raise UserError(
            f"a block of {params.block_km:g} km holds no two patches of {size} m side by side; "
            "choose a larger block_km or a smaller patch_size"
        )
    columns, rows = _free_cells(metres.bounds, size, in_block)
    if len(columns) > _MOST:
        raise UserError(
            f"{params.area} holds {len(columns):,} patches in zone {zone}, more than {_MOST:,}; "
            "choose a smaller area or larger patches"
        )
    left, top = size * columns, size * (rows + 1)
    squares = shapely.box(left, top - size, left + size, top)
    lon, lat = unwrapped(back, west)(np.column_stack([left + size / 2, top - size / 2])).T
    centred = (west <= lon) & (lon < west + 6) & ((lat < 0) == southern)
    shapely.prepare(metres)
    kept = np.flatnonzero(centred & shapely.contains(metres.buffer(1), squares))
    outlines = shapely.transform(squares[kept], unwrapped(back, west))
    return [
        Patch(
            f"{epsg}_{columns[n]:05d}_{rows[n]:05d}",
            f"{epsg}_{columns[n] // in_block}_{rows[n] // in_block}",
            epsg,
            float(left[n]),
            float(top[n]),
            params.patch_size,
            outline,
        )
        for n, outline in zip(kept.tolist(), outlines, strict=True)
    ]


def _free_cells(
    bounds: tuple[float, float, float, float], size: float, in_block: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return columns and rows of the cells within bounds that are not the last of their block."""
    # count cells from the zone's origin, so that another area has the same cells
    left, bottom, right, top = (int(np.floor(bound / size)) for bound in bounds)
    columns, rows = np.arange(left, right + 1), np.arange(bottom, top + 1)
    # the last column and row of a block stay free, so that patches of two blocks do not touch
    columns, rows = (n[n % in_block != in_block - 1] for n in (columns, rows))
    grid = np.meshgrid(columns, rows)
    return grid[0].ravel(), grid[1].ravel()


def in_metres(area: shapely.Geometry, epsg: int) -> shapely.Geometry:
    """Return an area of longitude and latitude on the plane of a zone."""
    forth = Transformer.from_crs(4326, epsg, always_xy=True)
    # straight lines of the area are straight in longitude and latitude, as GeoJSON has them
    return shapely.transform(shapely.segmentize(area, 0.05), applied(forth))


def applied(transformer: Transformer) -> Any:  # noqa: ANN401 - a function of points (n, 2)
    """Return a function of points (n, 2)."""
    return lambda points: np.column_stack(transformer.transform(points[:, 0], points[:, 1]))


def unwrapped(transformer: Transformer, west: float) -> Any:  # noqa: ANN401 - as `applied`
    """Return a function of points whose longitudes do not jump at the antimeridian."""

    def transform(points: NDArray[Any]) -> NDArray[Any]:
        lon, lat = transformer.transform(points[:, 0], points[:, 1])
        # stay within half a turn of the central meridian, 3 degrees east of `west`
        return np.column_stack([(np.asarray(lon) - west + 177) % 360 + west - 177, lat])

    return transform


def around(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return a geometry with its copies one turn to the east and to the west."""
    turns = [shapely.affinity.translate(geometry, turn) for turn in (-360, 0, 360)]
    return shapely.union_all(turns)


def _sampled(patches: list[Patch], params: StacParams) -> list[Patch]:
    """Return at most `params.patches`, those that touch labels first, in the order of the grid."""
    order = np.random.default_rng(params.seed).permutation(len(patches))
    touching = _touching(patches, params.labels.path, params)
    chosen = sorted(order[np.argsort(~touching[order], kind="stable")][: params.patches].tolist())
    return [patches[number] for number in chosen]


def _touching(patches: list[Patch], labels: Path, params: StacParams) -> NDArray[np.bool_]:
    touching = np.zeros(len(patches), bool)
    if labels.suffix.lower() not in SUFFIXES:
        return touching  # a raster covers all
    vectors = read_vectors(labels, params.labels.class_column, params.classes)
    if vectors is not None:
        tree = shapely.STRtree([patch.footprint for patch in patches])
        held = tree.query(vectors.in_crs(CRS.from_epsg(4326)), "intersects")[1]
        touching[held] = True
        if not touching.any():
            bounds = ", ".join(f"{x:.4g}" for x in vectors.geometry.to_crs(4326).total_bounds)
            raise UserError(
                f"{labels} labels no patch of {params.area}: its labels span {bounds} in longitude "
                "and latitude; is the CRS of both right?"
            )
    return touching
