import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio

from eocontrast.config.sources import BigEarthNetParams
from eocontrast.modalities import SENTINEL1, SENTINEL2_L2A
from eocontrast.rasters.read import bands_size, read_raster
from eocontrast.runtime.errors import UserError
from eocontrast.sources import bigearthnet
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.reben import describe_folder

S1, S2 = "S1A_IW_GRDH_1SDV_20170613T165043", "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
PATCHES = [  # column, labels, split; row 7
    (10, ["Pastures"], "train"),
    (11, ["Coniferous forest", "Mixed forest", "Pastures"], "validation"),
    (12, ["Inland waters"], "test"),
    (13, [], "train"),
    (40, ["Urban fabric"], "test"),
]


def names(column: int) -> tuple[str, str]:
    return f"{S1}_33UUP_{column}_7", f"{S2}_{column}_7"


def metadata() -> pd.DataFrame:
    rows = [(names(c)[1], labels, split, names(c)[0]) for c, labels, split in PATCHES]
    table = pd.DataFrame(rows, columns=["patch_id", "labels", "split", "s1_name"])
    return table.assign(country="Austria")


def write(path: Path, side: int, value: int, dtype: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(1200 / side, 0, 0, 0, -1200 / side, 0),
    }
    shape = {"count": 1, "height": side, "width": side, "dtype": dtype}
    with rasterio.open(path, "w", "GTiff", **shape, **place) as raster:
        raster.write(np.full((1, side, side), value, dtype))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five pairs in the layout of version 2, with a tenth of the pixels per side."""
    for column, _, _ in PATCHES:
        s1, s2 = names(column)
        for band in SENTINEL1.bands:
            write(tmp_path / f"BigEarthNet-S1/{S1}/{s1}/{s1}_{band}.tif", 12, -column, "float32")
        for band in SENTINEL2_L2A.bands:
            side = (
                2 if band in ("B01", "B09") else 12 if band in ("B02", "B03", "B04", "B08") else 6
            )
            path = tmp_path / f"BigEarthNet-S2/{S2}/{s2}/{s2}_{band}.tif"
            write(path, side, 100 * column, "uint16")
    metadata().to_parquet(tmp_path / "metadata.parquet")
    return tmp_path


def test_pairs_are_read_in_place(data: Path, tmp_path: Path) -> None:
    source = bigearthnet.fetch(tmp_path / "unused", BigEarthNetParams(path=data))
    check_manifest(source.manifest)
    assert not (tmp_path / "unused").exists()
    for (column, _, _), row in zip(PATCHES, source.manifest.itertuples(), strict=True):
        assert row.id == names(column)[1]
        assert bands_size(str(row.s2), source.s2) == (12, 12)
        assert (read_raster(str(row.s1), source.s1).values == -column).all()
        assert (read_raster(str(row.s2), source.s2).values == 100 * column).all()


def test_official_split_cuts_groups(data: Path) -> None:
    rows = describe_folder(data, Path("unused"))
    assert list(rows["split"]) == ["train", "train", "test", "pretrain", "test"]
    assert list(rows["label"]) == [
        "Agricultural",
        "Forest and semi-natural|Agricultural",
        "Water",
        "",
        "Artificial",
    ]
    train, first, second = "train_33UUP_10_7", "test_33UUP_12_7", "test_33UUP_40_7"
    assert list(rows["group"]) == [train, train, first, train, second]


def test_missing_patch_is_named(data: Path) -> None:
    shutil.rmtree(data / f"BigEarthNet-S1/{S1}/{names(12)[0]}")
    with pytest.raises(UserError, match=rf"1 of 5 patches .*BigEarthNet-S1: {S1}/{names(12)[0]};"):
        describe_folder(data, Path("unused"))
    shutil.rmtree(data / f"BigEarthNet-S2/{S2}")
    shutil.rmtree(data / f"BigEarthNet-S1/{S1}")
    with pytest.raises(UserError, match="5 of 5 patches"):
        describe_folder(data, Path("unused"))


@pytest.mark.parametrize("name", ["metadata.parquet", "BigEarthNet-S1", "BigEarthNet-S2"])
def test_other_layout_lists_the_content(data: Path, name: str) -> None:
    (data / name).rename(data / "elsewhere")
    with pytest.raises(UserError, match=rf"{name} is missing; found in .*elsewhere.*bigearth\.net"):
        describe_folder(data, Path("unused"))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (metadata().drop(columns="s1_name"), "with the columns patch_id, labels, split, s1_name"),
        (
            metadata().assign(split=["train"] * 4 + ["val"]),
            "split 'val', expected train, validation, test",
        ),
        (
            metadata().assign(labels=lambda t: t["labels"].map(lambda _: ["Lava"])),
            "has the label 'Lava'",
        ),
    ],
)
def test_wrong_metadata_are_named(data: Path, table: pd.DataFrame, expected: str) -> None:
    table.to_parquet(data / "metadata.parquet")
    with pytest.raises(UserError, match=expected):
        describe_folder(data, Path("unused"))


def test_metadata_must_be_parquet(data: Path) -> None:
    (data / "metadata.parquet").write_text("patch_id,labels")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        describe_folder(data, Path("unused"))
