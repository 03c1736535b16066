"""Polygons or points with a class column, from the vector files that people have."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from eocontrast.runtime.errors import UserError, some
from eocontrast.runtime.files import find_hint

# first bytes, because GDAL would also open a text file that names other files or addresses
_BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    ".gpkg": (b"SQLite format 3\x00",),
    ".geojson": (b"{",),
    ".json": (b"{",),
    # read 9994 in big-endian order, the file code of ESRI's description of 1998
    ".shp": (b"\x00\x00\x27\x0a",),
    ".parquet": (b"PAR1",),
}

COLOUR_COLUMNS = ("colour", "color", "fill", "marker-color")
"""Columns that may hold `#rrggbb`; the last two are those of the simplestyle specification.

https://github.com/mapbox/simplestyle-spec/tree/master/1.1.0
"""

SUFFIXES = tuple(_BEGINNINGS)
"""Suffixes of the vector files that are read."""

_KINDS = {
    "Polygon": "polygons",
    "MultiPolygon": "polygons",
    "Point": "points",
    "MultiPoint": "points",
}


@dataclass(frozen=True)
class Vectors:
    """Labelled polygons or points.

    Attributes:
        path: File for messages.
        kind: `polygons` or `points`.
        geometry: Geometries in the CRS of the file.
        classes: Index of the class of each geometry in `names`.
        names: Names of the classes in the order of their indices.
        colours: `#rrggbb` by class, of those whose features state one.
    """

    path: Path
    kind: str
    geometry: geopandas.GeoSeries
    classes: NDArray[np.intp]
    names: tuple[str, ...]
    colours: dict[str, str] = field(default_factory=dict)

    def in_crs(self, crs: CRS) -> NDArray[Any]:
        """Return the geometries in another CRS."""
        moved = self.geometry if self.geometry.crs == crs else self.geometry.to_crs(crs.to_wkt())
        array: NDArray[Any] = moved.to_numpy()
        return array


def read_vectors(path: Path, class_column: str, classes: Mapping[str, int]) -> Vectors | None:
    """Read labelled polygons or points; None if the file has no features.

    Features without a class or without a geometry are ignored, and a line counts them.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or GeoParquet.
        class_column: Column with the name or number of the class.
        classes: Expected names in order; if empty, all values of the column, sorted.

    Raises:
        UserError: the file cannot be read, has no CRS or no such column, mixes polygons with
            points, or holds fewer than two classes or one that is not expected.
    """
    frame = _read(path)
    if frame.empty:
        return None
    if class_column not in frame.columns:
        columns = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name)
        raise UserError(
            f"{path} has no column {class_column!r}; its columns are: {columns or 'none'}. Name "
            "the one that holds the class"
        )
    if frame.crs is None:
        raise UserError(
            f"{path} does not say its coordinate reference system; write it, for example with "
            "`ogr2ogr -a_srs EPSG:32632`, or put the .prj file beside the .shp file"
        )
    usable = frame[class_column].notna() & frame.geometry.notna() & ~frame.geometry.is_empty
    if not usable.all():
        print(f"{path}: {(~usable).sum()} features without a class or a geometry are ignored")
    if not usable.any():
        raise UserError(
            f"{path}: none of {len(frame)} features has both a geometry and a value of "
            f"{class_column}; fill in the column, or name another one"
        )
    frame = frame[usable]
    kind = _kind(path, frame.geometry)
    if kind == "points":
        # a multipoint becomes points: each labels the pixel that it lies in
        frame = frame.explode()
    names = _names(frame[class_column])
    order = _order(path, class_column, names, classes)
    index = [order.index(name) for name in names]
    numbers = np.array(index, dtype=np.intp)
    return Vectors(path, kind, frame.geometry, numbers, order, _colours(frame, names))


def _read(path: Path) -> geopandas.GeoDataFrame:
    _check_format(path)
    try:
        if path.suffix.lower() == ".parquet":
            return geopandas.read_parquet(path)  # refuses tables without geometries
        layers = pyogrio.list_layers(path)
        if len(layers) != 1:
            names = ", ".join(str(layer[0]) for layer in layers)
            raise UserError(f"{path} has {len(layers)} layers ({names}); export one of them")
        with warnings.catch_warnings():
            # pyogrio warns of a .shp without .prj, for example; a missing CRS is an error later
            warnings.simplefilter("ignore")
            frame = pyogrio.read_dataframe(path)
    except (OSError, ValueError, RuntimeError) as error:
        message = f"{path} cannot be read as a vector file: {error}; export it again"
        raise UserError(message) from error
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise UserError(f"{path} holds a table without geometries; export polygons or points")
    return frame


def _check_format(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"{path}: no such file of labels; {find_hint(path)}")
    beginnings = _BEGINNINGS.get(path.suffix.lower())
    if beginnings is None:
        raise UserError(f"{path}: expected a vector file, {', '.join(SUFFIXES)}; export it as one")
    with path.open("rb") as file:
        # JSON may begin with a byte-order mark or blanks
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(beginnings):
        raise UserError(f"{path} does not begin as {path.suffix} files do; export it again")


def _kind(path: Path, geometry: geopandas.GeoSeries) -> str:
    found = {_KINDS.get(name, str(name)) for name in geometry.geom_type.unique()}
    if found not in ({"polygons"}, {"points"}):
        held = " and ".join(sorted(found)) or "no geometry"
        raise UserError(f"{path} holds {held}; expected polygons alone or points alone: split it")
    return found.pop()


def _names(values: pd.Series) -> pd.Series:
    """Return names of classes; whole numbers that were read as floats lose their `.0`."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all() and (numbers == numbers.round()).all():
        return numbers.astype("int64").astype(str)
    return values.astype(str).str.strip()


def _colours(frame: geopandas.GeoDataFrame, names: pd.Series) -> dict[str, str]:
    """Return the colour of each class whose features agree on one."""
    columns = [name for name in frame.columns if str(name).lower() in COLOUR_COLUMNS]
    if not columns:
        return {}
    stated = frame[columns[0]].astype(str).str.strip().str.lower()
    valid = stated.str.fullmatch(r"#[0-9a-f]{6}")
    by_class = stated[valid].groupby(names[valid]).unique()
    return {str(name): held[0] for name, held in by_class.items() if len(held) == 1}


def _order(
    path: Path, column: str, names: pd.Series, classes: Mapping[str, int]
) -> tuple[str, ...]:
    """Return the names of the classes in order, as stated or sorted."""
    # numbers by value: as text, 10 would come before 9
    held = sorted(names.unique(), key=lambda name: (int(name) if name.isdecimal() else 0, name))
    strange = [name for name in held if "|" in name or name in ("none", "")]
    if strange:
        raise UserError(f"{path}: {strange[0]!r} in column {column} cannot name a class; rename it")
    if len(held) < 2:
        only = f"one class, {held[0]}" if held else "no class"
        raise UserError(f"{path}: column {column} holds {only}; expected two or more")
    unknown = [name for name in held if name not in classes]
    if classes and unknown:
        raise UserError(
            f"{path}: column {column} holds {some(unknown)}, which `classes` does not "
            f"name ({', '.join(classes)}); add it there, or set `classes: {{}}` to take all"
        )
    return tuple(classes) or tuple(held)


def read_area(path: Path) -> shapely.Geometry:
    """Read the polygons of an area and return their union in longitude and latitude.

    Raises:
        UserError: the file cannot be read, has no CRS, or holds no polygons.
    """
    frame = _read(path)
    held = frame.geometry[frame.geometry.notna() & ~frame.geometry.is_empty]
    kinds = {str(name) for name in held.geom_type.unique()}
    if held.empty or not kinds <= {"Polygon", "MultiPolygon"}:
        found = " and ".join(sorted(kinds)) or "no geometry"
        raise UserError(f"{path} holds {found}; expected the outline of an area as polygons")
    if frame.crs is None:
        raise UserError(f"{path} does not say its coordinate reference system; write it")
    # outlines drawn by hand may cross themselves, which the union refuses
    return held.to_crs(4326).make_valid().union_all()
