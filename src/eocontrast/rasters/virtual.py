"""Sources of virtual rasters (VRT), read without GDAL.

A VRT may name any file of the machine, an address, or Python code. So only mosaics and stacks of
plain rasters beside it are opened, as `gdalbuildvrt` writes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree  # nosec B405 - documents with entities are refused

import shapely

_ELEMENTS = {
    "VRTDataset", "SRS", "GeoTransform", "Metadata", "MDI", "OverviewList", "VRTRasterBand",
    "NoDataValue", "HideNoDataValue", "Description", "ColorInterp", "Scale", "Offset", "UnitType",
    "CategoryNames", "Category", "ColorTable", "Entry", "SimpleSource", "ComplexSource",
    "SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA",
    "ScaleOffset", "ScaleRatio", "UseMaskBand", "MaskBand", "Histograms", "BlockXSize",
    "BlockYSize",
}  # fmt: skip
"""Elements that copy pixels of a source, or describe them."""


@dataclass(frozen=True)
class VirtualSource:
    """A raster from which one band of a VRT takes pixels.

    Attributes:
        file: Absolute path of the raster.
        band: Number of the band in the VRT; 0 for its mask.
        number: Number of the band in the raster; 0 for its mask.
        nodata: Value that the VRT leaves out of this raster; None if it copies all.
        scaled: Whether the VRT applies a scale of its own.
        masked: Whether the VRT leaves out what the raster's mask hides.
    """

    file: Path
    band: int
    number: int
    nodata: float | None
    scaled: bool
    masked: bool


def virtual_sources(path: Path) -> list[VirtualSource]:
    """Return the rasters behind a VRT.

    Raises:
        ValueError: it is no such file, takes pixels from elsewhere, or leaves some undefined.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it defines entities")
    try:
        root = ElementTree.fromstring(text)  # nosec B314
    except ElementTree.ParseError as error:
        raise ValueError(f"it is not XML: {error}") from error
    for element in root.iter():
        kind = element.get("subClass") or element.tag
        if element.get("subClass") or element.tag not in _ELEMENTS:
            raise ValueError(f"it computes pixels or reads them in another way ({kind})")
    return list(_sources(path, root))


def _sources(path: Path, root: ElementTree.Element) -> Iterator[VirtualSource]:
    size = int(root.get("rasterXSize", 0)), int(root.get("rasterYSize", 0))
    masked = root.find("MaskBand") is not None
    bands = root.findall("VRTRasterBand")
    for place, band in enumerate(bands, start=1):
        if not masked and band.find("NoDataValue") is None and not _covered(band, size):
            raise ValueError(f"no source covers all of band {place}, and it has no NoDataValue")
        yield from _of_band(path, band, int(band.get("band", place)))
    for band in root.findall("MaskBand/VRTRasterBand"):
        yield from _of_band(path, band, 0)


def _covered(band: ElementTree.Element, size: tuple[int, int]) -> bool:
    boxes = []
    for source in _kinds(band):
        rect = source.find("DstRect")
        # fill the whole band without a DstRect, as GDAL does
        if rect is None:
            return True
        left, top, width, height = (
            float(rect.get(k, 0)) for k in ("xOff", "yOff", "xSize", "ySize")
        )
        boxes.append(shapely.box(left, top, left + width, top + height))
    whole = shapely.box(0, 0, *size)
    return bool(whole.difference(shapely.union_all(boxes)).area < 0.5)


def _kinds(band: ElementTree.Element) -> list[ElementTree.Element]:
    return [*band.findall("SimpleSource"), *band.findall("ComplexSource")]


def _of_band(path: Path, band: ElementTree.Element, number: int) -> Iterator[VirtualSource]:
    for source in _kinds(band):
        name, of = source.find("SourceFilename"), source.findtext("SourceBand", "1").strip()
        nodata = source.findtext("NODATA")
        ratio, shift = source.findtext("ScaleRatio", "1"), source.findtext("ScaleOffset", "0")
        yield VirtualSource(
            _file(path, name),
            number,
            # "mask,1" is the mask of the first band
            0 if of.startswith("mask") else int(of),
            None if nodata is None else float(nodata),
            (float(ratio), float(shift)) != (1, 0),
            source.findtext("UseMaskBand", "false").strip().lower() in ("true", "1", "yes"),
        )


def _file(path: Path, name: ElementTree.Element | None) -> Path:
    text = ("" if name is None else name.text or "").strip()
    folder = path.absolute().parent
    # without that attribute GDAL would look in the working directory
    beside = name is not None and name.get("relativeToVRT") == "1"
    file = Path(os.path.normpath(folder / text if beside else text))
    if not file.is_relative_to(folder):
        raise ValueError(f"it takes pixels from {text or 'nowhere'}, expected files in its folder")
    return file
