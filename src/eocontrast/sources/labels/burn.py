"""Polygons and points drawn on the grid of a patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import rasterize

from eocontrast.rasters.grids import Grid
from eocontrast.sources.labels.vectors import Vectors

NOTHING = -1
"""Value of a pixel that no geometry labels."""


@dataclass(frozen=True)
class _Projected:
    """Geometries in one CRS, with a search tree."""

    geometry: NDArray[Any]
    tree: shapely.STRtree


class Burner:
    """Labelled geometries that can be drawn on any grid.

    Attributes:
        vectors: Polygons or points.
    """

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors
        self._projected: dict[CRS, _Projected] = {}

    def draw(self, grid: Grid) -> NDArray[np.int32]:
        """Return the position of the geometry over each pixel's centre, -1 for none.

        A point labels the pixel that it lies in. Pixels under geometries of different classes are
        not labelled.
        """
        assert grid.crs is not None
        projected = self._in_crs(grid.crs)
        # sorted, because the tree's order is its own, and the last one drawn is on top
        near = np.sort(projected.tree.query(shapely.box(*grid.bounds)))
        shape = (grid.height, grid.width)
        if not len(near):
            return np.full(shape, NOTHING, np.int32)
        shapes = [(projected.geometry[number], int(number)) for number in near]
        # the last one drawn is on top: both orders differ exactly where geometries overlap
        first, last = (
            rasterize(order, shape, NOTHING, transform=grid.transform, dtype="int32")
            for order in (shapes, shapes[::-1])
        )
        classes = self.vectors.classes
        disputed = classes[first] != classes[last]
        return np.where(disputed, NOTHING, first)

    def _in_crs(self, crs: CRS) -> _Projected:
        if crs not in self._projected:
            geometry = self.vectors.in_crs(crs)
            self._projected[crs] = _Projected(geometry, shapely.STRtree(geometry))
        return self._projected[crs]
