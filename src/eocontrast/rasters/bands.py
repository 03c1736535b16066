"""Names of the bands in raster files, and the bands to read."""

from __future__ import annotations

from pathlib import Path

from rasterio.io import DatasetReader

from eocontrast.rasters.open import RasterError

_OPTIONS = "name them by --s1-bands or --s2-bands"


def band_names(
    path: Path, raster: DatasetReader, declared: tuple[str, ...] | None, default: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the names of a raster's bands in the order of the file.

    Args:
        path: Path for messages.
        raster: Open raster.
        declared: Names that the user gives.
        default: Names of the bands if they are neither declared nor described in the file.

    Raises:
        RasterError: the file has another number of bands than names, describes the same bands in
            another order than declared, or describes several by one name.
    """
    described = tuple(name for name in raster.descriptions if name)
    # the user's word comes first: archives describe bands by all kinds of names
    names = declared or (described if len(described) == raster.count else default)
    if raster.count != len(names):
        hint = "correct it, or the declaration" if declared else _OPTIONS
        raise RasterError(
            "bands",
            f"{path} has {_bands(raster.count)}, expected {len(names)}: {', '.join(names)}; {hint}",
        )
    if len(set(names)) != len(names):
        message = f"{path}: bands are {', '.join(names)}, expected distinct names; {_OPTIONS}"
        raise RasterError("bands", message)
    # the same names in another order are the one case where the file is surely right
    if described != names and sorted(described) == sorted(names):
        raise RasterError(
            "bands",
            f"{path}: bands are {', '.join(described)}, declared {', '.join(names)}; use one order",
        )
    return names


def choose_bands(
    path: str | Path, names: tuple[str, ...], bands: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the bands to read: all of them except optional ones that the files do not hold.

    Args:
        path: Path for messages.
        names: Names of the bands in the files.
        bands: Names of the expected bands.
        optional: Names of bands that may be missing.

    Raises:
        RasterError: another band is missing, or all are.
    """
    chosen = tuple(band for band in bands if band in names or band not in optional)
    missing = [band for band in chosen if band not in names]
    if missing or not chosen:
        raise RasterError(
            "bands",
            f"{path} has no band {', '.join(missing or bands)}; it has {', '.join(names)}. Pass "
            "--s1-bands or --s2-bands if it holds them under other names, or --fill-bands to do "
            "without some of them",
        )
    return chosen


def _bands(count: int) -> str:
    return "1 band" if count == 1 else f"{count} bands"
