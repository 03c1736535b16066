"""Pixel grids: where rasters lie, and how one is brought to the grid of another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from affine import Affine
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import array_bounds

from eocontrast.rasters.open import RasterError


@dataclass(frozen=True)
class Grid:
    """Position and size of an image's pixels.

    Attributes:
        crs: Coordinate reference system, which many files do not name.
        transform: From column and row to the coordinates of `crs`.
        height: Rows.
        width: Columns.
    """

    crs: CRS | None
    transform: Affine
    height: int
    width: int

    @classmethod
    def of(cls, raster: DatasetReader) -> Grid:
        """Return the grid of an open raster with its first row in the north, as it is read."""
        rows, cols = reversed_axes(raster.transform)
        turned = Affine(-1, 0, raster.width, 0, 1, 0) if cols else Affine.identity()
        turned @= Affine(1, 0, 0, 0, -1, raster.height) if rows else Affine.identity()
        return cls(_horizontal(raster.crs), raster.transform @ turned, raster.height, raster.width)

    @property
    def located(self) -> bool:
        """True if the grid names the ground that it covers."""
        return self.crs is not None and not self.transform.is_identity

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right and top in the units of `crs`."""
        left, bottom, right, top = array_bounds(self.height, self.width, self.transform)
        return left, bottom, right, top

    @property
    def pixel(self) -> float:
        """Width of a pixel in the units of `crs`."""
        return math.hypot(self.transform.a, self.transform.d)

    @property
    def _east(self) -> float:
        """Direction of a row, in radians."""
        return math.atan2(self.transform.d, self.transform.a)

    @property
    def metres(self) -> float | None:
        """Size of a pixel on the ground, the root of its area; None without georeference."""
        if self.crs is None or not self.located:
            return None
        size = math.sqrt(abs(self.transform.determinant))
        if self.crs.is_geographic:
            _, bottom, _, top = self.bounds
            # take the root: only degrees of longitude shrink, and the size is the root of an area
            shrink = math.sqrt(math.cos(math.radians((bottom + top) / 2)))
            return size * 111_320 * shrink  # metres of a degree on the equator
        return size * float(self.crs.linear_units_factor[1])

    def with_metres(self, metres: float) -> Grid:
        """Return the grid of the same ground with pixels of another size."""
        factor = metres / (self.metres or metres)
        height, width = (max(1, round(n / factor)) for n in (self.height, self.width))
        transform = self.transform @ Affine.scale(factor)
        return Grid(self.crs, transform, height, width)

    def part(self, rows: slice, cols: slice) -> Grid:
        """Return the grid of some rows and columns, which may reach beyond this grid."""
        corner = self.transform @ Affine.translation(cols.start, rows.start)
        return Grid(self.crs, corner, rows.stop - rows.start, cols.stop - cols.start)

    def resized(self, height: int, width: int) -> Grid:
        """Return the grid of another number of pixels on the same ground."""
        scale = Affine.scale(self.width / width, self.height / height)
        return Grid(self.crs, self.transform @ scale, height, width)

    def coarser(self, factor: int) -> Grid:
        """Return the grid of squares of `factor` pixels from the same corner.

        The last squares may reach beyond this grid.
        """
        height, width = math.ceil(self.height / factor), math.ceil(self.width / factor)
        return Grid(self.crs, self.transform @ Affine.scale(factor), height, width)

    def phase(self, period: int) -> tuple[int, int]:
        """Return the rows and columns from the corner back to a multiple of `period` pixels.

        They are counted from the origin of `crs`, which all scenes cut from one product share.
        """
        col, row = ~self.transform @ (0, 0)
        # grids lie at whole or at half pixels: rounding at 0.75 is safe for both, and .9999 is 1
        back = (math.floor(0.25 - origin) % period for origin in (row, col))
        return next(back), next(back)

    def coincides(self, other: Grid) -> bool:
        """Return whether pixels lie on each other, within a hundredth of one.

        Grids of one size coincide if either has no transform. If either has no CRS, transforms
        must agree.
        """
        if (self.height, self.width) != (other.height, other.width):
            return False
        if self.transform.is_identity or other.transform.is_identity:
            return True
        shift = ~other.transform @ self.transform
        corners = [(0, 0), (self.width, 0), (0, self.height)]
        near = all(math.dist(shift @ corner, corner) < 0.01 for corner in corners)
        return near and (None in (self.crs, other.crs) or bool(self.crs == other.crs))

    def difference(self, other: Grid) -> str:
        """Return how the grid differs from another; empty for less than half a pixel.

        The two may be of different resolution on the same ground.
        """
        if self.crs and other.crs and self.crs != other.crs:
            return f"is in {_short(self.crs)}, unlike {_short(other.crs)} of"
        turn = math.degrees(self._east - other._east)
        if abs((turn + 180) % 360 - 180) > 0.1:
            return f"is rotated by {abs(turn):.3g} degrees against"
        if self.transform.determinant * other.transform.determinant < 0:
            return "has its rows in the reverse order of those of"
        finer = min(self.pixel, other.pixel)
        (left, bottom, right, top), bounds = self.bounds, other.bounds
        widths = (right - left, top - bottom)
        expected = (bounds[2] - bounds[0], bounds[3] - bounds[1])
        if max(abs(a - b) for a, b in zip(widths, expected, strict=True)) > 0.499 * finer:
            size = f"{widths[0]:g} x {widths[1]:g}"
            return f"covers {size} units of ground, unlike {expected[0]:g} x {expected[1]:g} of"
        east, north = (left - bounds[0]) / finer, (bottom - bounds[1]) / finer
        apart = max(abs(a - b) for a, b in zip(self.bounds, bounds, strict=True))
        # stay below 0.5: half a pixel is a shift, whichever way rounding goes
        if apart <= 0.499 * finer:
            return ""
        shifts = [
            f"{abs(shift):.3g} px {word[shift < 0]}"
            for shift, word in ((east, ("east", "west")), (north, ("north", "south")))
            if abs(shift) > 0.01
        ]
        return f"is shifted by {' and '.join(shifts) or f'{apart:g} units'} against"

    def refines(self, other: Grid) -> bool:
        """Return whether every pixel of the other grid is a square of these pixels."""
        # both sizes must agree: a cut scene may end within a coarse pixel, and is warped then
        factor = round(self.width / other.width)
        whole = (other.height * factor, other.width * factor) == (self.height, self.width)
        return whole and self.located and other.located and self.coarser(factor).coincides(other)


def _horizontal(crs: CRS | None) -> CRS | None:
    """Return the system of the map without heights; None for systems that are of no map."""
    if crs is not None and crs.to_wkt().startswith("COMP"):
        import pyproj  # few files need it

        crs = CRS.from_user_input(pyproj.CRS.from_wkt(crs.to_wkt()).sub_crs_list[0])
    # local and geocentric systems do not say where a pixel lies on a map
    return crs if crs is not None and (crs.is_projected or crs.is_geographic) else None


def _short(crs: CRS) -> str:
    """Return the code of a system, or else its name."""
    code = str(crs.to_string())
    return str(crs.to_wkt().split('"')[1]) if "[" in code else code


def reversed_axes(transform: Affine) -> tuple[bool, bool]:
    """Return whether the first row is the southernmost, and the first column the easternmost.

    Rotated grids and rasters without georeference are left as they are.
    """
    # GDAL's warping leaves rotations of 1e-10 behind; 1e-7 is 0.001 px across a tile
    turned = max(abs(transform.b), abs(transform.d)) > 1e-7 * abs(transform.a)
    if transform.is_identity or turned:
        return False, False
    return transform.e > 0, transform.a < 0


def finest(grids: Iterable[Grid]) -> Grid:
    """Return the grid of the smallest pixels; without any georeference, of the most pixels."""
    grids = list(grids)
    # areas can be compared because the bands of one image share a CRS
    located = [grid for grid in grids if grid.located]
    if located:
        return min(located, key=lambda grid: abs(grid.transform.determinant))
    return max(grids, key=lambda grid: grid.height * grid.width)


def common_size(sizes: Mapping[Path, tuple[int, ...]]) -> tuple[int, int]:
    """Return the largest height and width.

    Raises:
        RasterError: another size does not divide it evenly, by the same factor both ways.
    """
    finest = max(sizes, key=lambda file: sizes[file])
    height, width = sizes[finest]
    for file, (h, w) in sizes.items():
        if height % h or width % w or height // h != width // w:
            raise RasterError(
                "size",
                f"{file} is {h} x {w} pixels and {finest} is {height} x {width}: the bands of one "
                "patch must cover the same ground",
            )
    return height, width
