"""Class names that a mask's side-car file gives to its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree  # nosec B405 - documents with entities are refused

_NAME, _VALUE = "2", "5"
"""Usage of columns in GDAL's attribute tables; 5 is a single value, 1 a count, 3 a least value."""


def named_values(path: Path) -> dict[str, int]:
    """Return the value by name, as GDAL keeps it in `.aux.xml` for GeoTIFF, PNG and JPEG 2000.

    Empty if there is no such file or it names nothing; others report damaged files.
    """
    sidecar = path.with_name(f"{path.name}.aux.xml")
    if not sidecar.is_file():
        return {}
    text = sidecar.read_text(encoding="utf-8", errors="replace")
    # refuse entities: a few lines of them can expand to gigabytes ("billion laughs")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return {}
    try:
        band = ElementTree.fromstring(text).find("PAMRasterBand")  # nosec B314
        return {} if band is None else dict([*_categories(band), *_attributes(band)])
    except (ElementTree.ParseError, ValueError):
        return {}


def contradiction(named: Mapping[str, int], classes: Mapping[str, int]) -> str:
    """Return which class has another value in a file than the user's; empty if none has.

    Args:
        named: Value by name in the file.
        classes: Value by the name of the class.
    """
    by_name = {name.strip().casefold(): value for name, value in named.items()}
    for name, value in classes.items():
        stored = by_name.get(name.casefold())
        if stored is not None and stored != value:
            return f"{name!r} is {stored} in the file's own names, but {value}"
    return ""


def _categories(band: ElementTree.Element) -> Iterator[tuple[str, int]]:
    for value, category in enumerate(band.findall("CategoryNames/Category")):
        if category.text:
            yield category.text, value


def _attributes(band: ElementTree.Element) -> Iterator[tuple[str, int]]:
    table = band.find("GDALRasterAttributeTable")
    if table is None:
        return
    usages = [column.findtext("Usage", "") for column in table.findall("FieldDefn")]
    names = [place for place, usage in enumerate(usages) if usage == _NAME]
    values = [place for place, usage in enumerate(usages) if usage == _VALUE]
    if not (names and values):
        return
    for row in table.findall("Row"):
        cells = [cell.text or "" for cell in row.findall("F")]
        yield cells[names[0]], int(float(cells[values[0]]))
