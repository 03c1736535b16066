"""Ground that patches of different reference systems share, such as neighbouring UTM zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

Box = tuple[float, float, float, float]
"""Left, bottom, right and top in the units of the reference system."""

Place = tuple[str, Box]
"""A reference system and bounds in it."""

SHARE = 1e-3
"""Share of the smaller patch from which an overlap counts; rounding of corners gives less."""

_STEPS = 4
"""Points per side: straight sides of 100 km are bent by 15 m in a neighbouring zone at most."""


def crossing_zones(boxes_by_crs: Mapping[str, Sequence[Box]]) -> list[tuple[Place, Place]]:
    """Return the pairs of places of different reference systems that share an area.

    Args:
        boxes_by_crs: Distinct bounds by reference system.
    """
    if len(boxes_by_crs) < 2:
        return []
    places = [(crs, box) for crs, boxes in boxes_by_crs.items() for box in boxes]
    outlines = [outlines_lonlat(crs, boxes) for crs, boxes in boxes_by_crs.items()]
    shapes = np.concatenate(outlines)
    # 180,000 patches take seconds by a tree, hours by pairs
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    systems = np.repeat(np.arange(len(outlines)), [len(part) for part in outlines])
    # each pair once; within one system `intersecting` compares in metres
    apart = systems[one] < systems[other]
    one, other = one[apart], other[apart]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    smaller = np.minimum(shapely.area(shapes[one]), shapely.area(shapes[other]))
    kept = shared > SHARE * smaller
    return [(places[a], places[b]) for a, b in zip(one[kept], other[kept], strict=True)]


def outlines_lonlat(crs: str, boxes: Sequence[Box]) -> NDArray[np.object_]:
    """Return the outlines of bounds as polygons in degrees of longitude and latitude."""
    left, bottom, right, top = np.reshape(boxes, (-1, 4, 1)).swapaxes(0, 1)
    along, zeros = np.linspace(0, 1, _STEPS, endpoint=False), np.zeros(_STEPS)
    # once around: bottom, right, top and left side, without the corner where the next side begins
    across = np.concatenate([along, zeros + 1, 1 - along, zeros])
    upwards = np.concatenate([zeros, along, zeros + 1, 1 - along])
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(
        left + across * (right - left), bottom + upwards * (top - bottom)
    )
    # an outline over the antimeridian would reach around the globe
    wide = np.ptp(lon, axis=1) > 180
    lon[wide] %= 360
    polygons: NDArray[np.object_] = shapely.polygons(np.stack([lon, lat], axis=-1))
    return polygons
