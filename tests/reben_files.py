"""A small reBEN: five pairs with reference maps in the published layout, and as archives."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray

from eocontrast.modalities import SENTINEL1, SENTINEL2_L2A
from eocontrast.sources.bigearthnet_classes import CODES

S1 = ("S1A_IW_GRDH_1SDV_20170613T165043", "S1B_IW_GRDH_1SDV_20170701T063215")
S2 = (
    "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP",
    "S2A_MSIL2A_20170701T112111_N9999_R037_T29SND",
)
LABELS: dict[int, list[str]] = {
    10: ["Pastures"],
    11: ["Pastures", "Coniferous forest", "Mixed forest"],
    12: ["Inland waters"],
    13: [],
    40: ["Urban fabric"],
}
PATCHES = [  # column, split, snow, cloud; row 7
    (10, "train", False, False),
    (11, "validation", True, False),
    (12, "test", True, True),
    (13, "train", False, False),
    (40, "test", False, False),
]


def names(column: int) -> tuple[str, str]:
    """Return the names of a pair's patches; column 40 lies in another tile and country."""
    far = column == 40
    return f"{S1[far]}_{('33UUP', '29SND')[far]}_{column}_7", f"{S2[far]}_{column}_7"


def metadata() -> pd.DataFrame:
    """Return the published table of these pairs."""
    rows = [
        (
            *(names(column)[1], LABELS[column], split, ("Austria", "Portugal")[column == 40]),
            *(names(column)[0], snow, cloud),
        )
        for column, split, snow, cloud in PATCHES
    ]
    columns = ["patch_id", "labels", "split", "country", "s1_name"]
    flags = ["contains_seasonal_snow", "contains_cloud_or_shadow"]
    return pd.DataFrame(rows, columns=[*columns, *flags])


def write_reben(folder: Path) -> Path:
    """Write the pairs with 12 instead of 120 pixels a side, and return the folder."""
    for column, *_ in PATCHES:
        s1, s2 = names(column)
        scene1, scene2 = S1[column == 40], S2[column == 40]
        for band in SENTINEL1.bands:
            path = folder / f"BigEarthNet-S1/{scene1}/{s1}/{s1}_{band}.tif"
            _write(path, np.full((12, 12), -column, np.float32))
        for band in SENTINEL2_L2A.bands:
            side = 2 if band in ("B01", "B09") else 12 if band in "B02B03B04B08" else 6
            path = folder / f"BigEarthNet-S2/{scene2}/{s2}/{s2}_{band}.tif"
            _write(path, np.full((side, side), 100 * column, np.uint16))
        path = folder / f"Reference_Maps/{scene2}/{s2}/{s2}_reference_map.tif"
        _write(path, _codes(LABELS[column]))
    metadata().to_parquet(folder / "metadata.parquet")
    return folder


def _codes(labels: list[str]) -> NDArray[np.uint16]:
    """Fill most of the map with the second class, one pixel with each other, and some with none."""
    codes = np.full((12, 12), 124, np.uint16)  # airports, in none of the 19 classes
    if labels:
        codes[2:] = CODES[labels[min(1, len(labels) - 1)]][-1]
    for place, name in enumerate(labels):
        codes[1, place] = CODES[name][0]
    return codes


def _write(path: Path, values: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    side = len(values)
    transform = rasterio.Affine(1200 / side, 0, 0, 0, -1200 / side, 0)
    shape = {"count": 1, "height": side, "width": side, "dtype": values.dtype}
    with rasterio.open(
        path, "w", "GTiff", crs="EPSG:32633", transform=transform, **shape
    ) as raster:
        raster.write(values, 1)


def archived(folder: Path, top: str, compression: str = "gz") -> bytes:
    """Return a top folder as a compressed tar archive, with its folders as members too."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        archive.add(folder / top, top)
    return packed.getvalue()


def published(folder: Path) -> dict[str, bytes]:
    """Return the files of the mirror by name, with a file of digests, `md5sums`."""
    files = {"metadata.parquet": (folder / "metadata.parquet").read_bytes()}
    for top in ("BigEarthNet-S1", "BigEarthNet-S2"):
        content = archived(folder, top)
        cut = len(content) // 2 + 1
        files |= {f"{top}.tar.gzaa": content[:cut], f"{top}.tar.gzab": content[cut:]}
    files["Reference_Maps.tar.gzaa"] = archived(folder, "Reference_Maps")
    lines = [f"{hashlib.md5(content).hexdigest()}  {name}\n" for name, content in files.items()]
    return files | {"md5sums": "".join(lines).encode()}
