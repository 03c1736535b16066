"""Files of a sensor's bands: one raster, one per band, or a Sentinel-2 product of ESA."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from eocontrast.modalities import OFFSET, Units
from eocontrast.rasters.offsets import digital_numbers
from eocontrast.rasters.open import RasterError

_RESOLUTION = re.compile(r"_(\d+)m(?=[._]|$)")
_BASELINE = re.compile(r"S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{2})(\d{2})_")
_BASELINE_TAG = re.compile(r"(\d{2})\.(\d{2})")
_PRODUCT = re.compile(r"(?:^|/)(S1[A-D]_\w\w_\w+)\.SAFE(?:/|$)")
# read both levels: 1C states RADIO_ADD_OFFSET, 2A states BOA_ADD_OFFSET
_ADD_OFFSET = re.compile(r"<(?:RADIO|BOA)_ADD_OFFSET[^>]*>\s*(-?\d+)\s*<")
_IMAGE = "*_{band}[._]*"


def band_files(path: str | Path, bands: Sequence[str]) -> dict[str, Path] | None:
    """Return the file of each band that exists, or None if the path is a single raster.

    Args:
        path: A raster, a path with `{band}` in which `?` and `*` may stand for other characters,
            or the folder of a Sentinel-2 product.
        bands: Names of the bands to look for.

    Raises:
        RasterError: the folder is no such product, or several files fit a band.
    """
    text = str(path)
    _refuse_sentinel1(text)
    if "{band}" in text:
        if not {"?", "*"} & {*text}:
            return {band: Path(text.replace("{band}", band)) for band in bands}
        # brackets are part of a name: as a pattern, "site[1]" would match the folder "site1"
        pattern = text.replace("[", "[[]")
    elif Path(text).is_dir():
        pattern = f"{glob.escape(text)}/**/{_IMAGE}"
    else:
        return None
    files = {band: _finest(text, pattern.replace("{band}", band), band) for band in bands}
    present = {band: file for band, file in files.items() if file}
    if not present:
        raise RasterError(
            "unreadable",
            f"{path} holds no file of {', '.join(bands)}; expected a raster, a path with {{band}}, "
            "or an unpacked Sentinel-2 product (.SAFE)",
        )
    return present


def product_offset(
    path: Path, units: Units, tags: Mapping[str, str] = MappingProxyType({})
) -> float | None:
    """Return the offset that the name, metadata or tags of a file's product state.

    It is in units of the values: -1000 for digital numbers is -0.1 for reflectance. Products before
    baseline 04.00 state 0. None if the file belongs to no product.
    """
    # tags are those that GDAL copies from a product
    match = _BASELINE.search(f"{path} {tags.get('PRODUCT_URI', '')}_")
    match = match or _BASELINE_TAG.fullmatch(tags.get("PROCESSING_BASELINE", ""))
    offset: float | None = None
    # 99.99 is what users processed themselves, such as reBEN, from products of any age
    if match and int(match[1]) < 99:
        offset = -OFFSET if int(match[1]) >= 4 else 0.0
    elif path.suffix.lower() == ".jp2":
        for metadata in _metadata(path):
            offset = _metadata_offset(metadata)
    return None if offset is None else offset / digital_numbers(units)


def _metadata(path: Path) -> list[Path]:
    """Return the metadata of the product that holds `GRANULE/<tile>/IMG_DATA/R10m/<file>`."""
    # climb five levels: R10m, IMG_DATA, the tile, GRANULE, and the product itself
    folders = path.absolute().parents[:5]
    return [file for folder in folders for file in folder.glob("MTD_MSIL[12][AC].xml")]


def _metadata_offset(metadata: Path) -> float:
    try:
        text = metadata.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{metadata} cannot be read: {error}; fetch the product again"
        raise RasterError("unreadable", message) from error
    offsets = {float(number) for number in _ADD_OFFSET.findall(text)}
    if len(offsets) > 1:
        message = f"{metadata} states several offsets ({sorted(offsets)}), expected one for all"
        raise RasterError("bands", f"{message} bands; convert the product to one of them")
    return offsets.pop() if offsets else 0.0


def _finest(path: str, pattern: str, band: str) -> Path | None:
    files = [Path(file) for file in sorted(glob.glob(pattern, recursive=True))]
    images = [file for file in files if file.suffix.lower() in (".jp2", ".tif", ".tiff")]
    # quality masks of a product are named after bands, too
    images = [file for file in images if "QI_DATA" not in file.parts]
    if not images:
        return None
    metres = {file: _metres(file) for file in images}
    best = [file for file in images if metres[file] == min(metres.values())]
    if len(best) > 1:
        raise RasterError(
            "unreadable",
            f"{path} has several files of {band}: {best[0]}, {best[1]}; name those of one image",
        )
    return best[0]


def _metres(file: Path) -> int:
    match = _RESOLUTION.search(file.name)
    # assume 10 m for level 1C, whose file names state no resolution (T33UUP_..._B02.jp2)
    return int(match[1]) if match else 10


def _refuse_sentinel1(path: str) -> None:
    match = _PRODUCT.search(path)
    if match:
        raise RasterError(
            "georeference",
            f"{match[1]}.SAFE is a Sentinel-1 product in the geometry of the radar, expected "
            "backscatter on a map's grid; calibrate and terrain-correct it (SNAP, pyroSAR, or "
            "an RTC product) and pass the GeoTIFF",
        )


def raster_files(path: str | Path, bands: Sequence[str]) -> list[Path]:
    """Return the files behind a path: one, or one per band."""
    files = band_files(path, bands)
    return [Path(path)] if files is None else list(files.values())
