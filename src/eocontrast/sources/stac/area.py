"""An area as a file of polygons or as a box of degrees."""

from __future__ import annotations

from pathlib import Path

import geopandas
import shapely
from pyproj import Geod

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.sources.labels.vectors import read_area


def area_file(text: str, out: Path) -> Path:
    """Return the file of an area; a box of degrees is written to `out` as GeoJSON.

    Args:
        text: Path of a file of polygons, or `west,south,east,north`.
        out: File for a box.

    Raises:
        UserError: the box is outside the globe or the zones of UTM, or upside down.
    """
    # four numbers are a box; no file is named so
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        if Path(text).is_file():
            return Path(text)
        raise UserError(
            f"--area is {text}, which is no file; expected a file of polygons, or a box as "
            "west,south,east,north in degrees, such as 9.1,47.9,9.4,48.1"
        ) from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -80 <= south < north <= 84):
        raise UserError(
            f"--area is {text}; expected west,south,east,north with longitudes within 180 degrees, "
            "and south < north between -80 and 84, where the zones of UTM end"
        )
    # GeoJSON cuts shapes at the antimeridian (RFC 7946, section 3.1.9)
    across = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    boxes = across if west >= east else [shapely.box(west, south, east, north)]
    frame = geopandas.GeoDataFrame(geometry=boxes, crs=4326)
    write_text(out, frame.to_json(drop_id=True))
    return out


def square_kilometres(area: Path) -> float:
    """Return the size of an area on the ellipsoid."""
    square_metres, _ = Geod(ellps="WGS84").geometry_area_perimeter(read_area(area))
    # drop the sign, which says in which direction a ring runs (pyproj)
    return abs(square_metres) / 1e6
