"""Five pairs in the layout of reBEN, with a tenth of the pixels per side."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from publishers import reben, stored
from reben_files import LABELS, PATCHES, S1, S2, metadata, names, write_reben

from eocontrast.models.tasks import TASKS, patch_targets
from eocontrast.rasters.read import bands_size, read_raster
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources import bigearthnet
from eocontrast.sources.bigearthnet_classes import CODES, NINETEEN, PALETTE_19, nineteen_classes
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.reben import describe_reben
from eocontrast.sources.reben_metadata import FLAGGED


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_reben(tmp_path / "mine")


def test_pairs_are_read_in_place(data: Path, tmp_path: Path) -> None:
    source = bigearthnet.fetch(tmp_path / "unused", reben(path=data))
    check_manifest(source.manifest)
    assert not (tmp_path / "unused").exists()
    for (column, *_), row in zip(PATCHES, source.manifest.itertuples(), strict=True):
        assert row.id == names(column)[1]
        assert bands_size(str(row.s2), source.s2) == (12, 12)
        assert (read_raster(str(row.s1), source.s1).values == -column).all()
        assert (read_raster(str(row.s2), source.s2).values == 100 * column).all()


def test_official_split_cuts_groups(data: Path) -> None:
    rows = describe_reben(Path("unused"), reben(path=data))
    assert list(rows["split"]) == ["train", "train", "test", "pretrain", "test"]
    assert list(rows["label"]) == [
        "Agricultural",
        "Forest and semi-natural|Agricultural",
        "Water",
        "",
        "Artificial",
    ]
    train, first, second = "train_33UUP_10_7", "test_33UUP_12_7", "test_29SND_40_7"
    assert list(rows["group"]) == [train, train, first, train, second]


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        ({"countries": ("Portugal",)}, [40]),
        ({"tiles": ("33UUP",)}, [10, 11, 12, 13]),
        ({"countries": ("Portugal", "Austria"), "tiles": ("29SND",)}, [40]),
        ({"flagged": "leave_out"}, [10, 13, 40]),
        ({"flagged": "pretrain"}, [10, 11, 13, 40]),
    ],
)
def test_parts_are_chosen(data: Path, fields: dict[str, object], columns: list[int]) -> None:
    rows = describe_reben(Path("unused"), reben(path=data, **fields))
    assert list(rows["id"]) == [names(column)[1] for column in columns]


def test_flagged_patches_lose_labels(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = describe_reben(Path("unused"), reben(path=data, flagged="pretrain"))
    flagged = rows[rows["id"] == names(11)[1]]
    assert flagged[["label", "split"]].values.tolist() == [["", "pretrain"]]
    assert "2 of 5 patches show snow, clouds or shadows" in capsys.readouterr().err


def test_second_table_adds_flagged(data: Path) -> None:
    table = metadata()
    table[~table["contains_seasonal_snow"]].to_parquet(data / "metadata.parquet")
    table[table["contains_seasonal_snow"]].to_parquet(data / FLAGGED)
    assert len(describe_reben(Path("unused"), reben(path=data))) == 5
    assert len(describe_reben(Path("unused"), reben(path=data, flagged="leave_out"))) == 3


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"countries": ("Spain",)}, "has the country Spain .*found Austria, Portugal"),
        ({"tiles": ("33UUP", "00AAA")}, "has the tile 00AAA .*found 29SND, 33UUP"),
    ],
)
def test_unknown_parts_are_named(data: Path, fields: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        describe_reben(Path("unused"), reben(path=data, **fields))


def test_flags_need_their_columns(data: Path) -> None:
    metadata().drop(columns="contains_seasonal_snow").to_parquet(data / "metadata.parquet")
    with pytest.raises(UserError, match="no column contains_seasonal_snow; use the metadata"):
        describe_reben(Path("unused"), reben(path=data, flagged="leave_out"))


@pytest.fixture
def nineteen(data: Path, tmp_path: Path) -> Source:
    source = bigearthnet.fetch(tmp_path / "raw", reben(path=data, classes="nineteen"))
    check_manifest(source.manifest)
    assert (source.classes, source.palette) == (NINETEEN, PALETTE_19)
    return source


def test_masks_hold_class_values(nineteen: Source, data: Path, tmp_path: Path) -> None:
    labelled = nineteen.manifest[nineteen.manifest["label"] != ""]
    assert list(labelled["classes"]) == ["|".join(LABELS[c]) for c in (10, 11, 12, 40)]
    for name, label in zip(labelled["id"], labelled["label"], strict=True):
        with rasterio.open(tmp_path / f"raw/{label}") as mask:
            scene = S2[name == names(40)[1]]
            source = data / f"Reference_Maps/{scene}/{name}/{name}_reference_map.tif"
            with rasterio.open(source) as codes:
                assert (mask.crs, mask.transform) == (codes.crs, codes.transform)
                wanted = codes.read(1)
            values = mask.read(1)
        assert values.dtype == np.uint8
        for members, value in zip(CODES.values(), NINETEEN.values(), strict=True):
            assert ((values == value) == np.isin(wanted, members)).all()


def test_store_has_both_targets(nineteen: Source, tmp_path: Path) -> None:
    """A class of one pixel is published as present; the mask alone would leave it out."""
    nineteen.write(tmp_path / "raw")
    store = stored(tmp_path / "raw")
    targets = patch_targets(store, TASKS["multi_label"]).numpy()
    order = list(NINETEEN)
    for name, row in zip(store.index["id"], targets, strict=True):
        column = int(name.split("_")[-2])
        assert [order[k] for k in np.flatnonzero(row)] == LABELS[column]
    assert store.has_masks
    single = dict(zip(store.index["id"], store.labels, strict=True))
    assert order[single[names(11)[1]]] == "Coniferous forest"  # most pixels, not the first name


def test_missing_maps_are_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(data / "Reference_Maps")
    source = bigearthnet.fetch(tmp_path / "raw", reben(path=data, classes="nineteen"))
    assert "has no Reference_Maps" in capsys.readouterr().err
    assert "classes" not in source.manifest
    assert source.manifest["label"][1] == "|".join(LABELS[11])


def test_damaged_map_is_named(data: Path, tmp_path: Path) -> None:
    scene, name = S2[0], names(12)[1]
    path = data / f"Reference_Maps/{scene}/{name}/{name}_reference_map.tif"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{name}_reference_map.tif"):
        bigearthnet.fetch(tmp_path / "raw", reben(path=data, classes="nineteen"))


def test_codes_of_no_class_are_ignored() -> None:
    codes = np.array([0, 111, 124, 332, 523, 999, 65535], dtype=np.uint16)
    assert nineteen_classes(codes).tolist() == [0, 1, 0, 0, 19, 0, 0]
    assert len(set(PALETTE_19.values())) == len(NINETEEN) == 19


def test_missing_patch_is_named(data: Path) -> None:
    shutil.rmtree(data / f"BigEarthNet-S1/{S1[0]}/{names(12)[0]}")
    with pytest.raises(
        UserError, match=rf"1 of 5 patches .*BigEarthNet-S1: {S1[0]}/{names(12)[0]};"
    ):
        describe_reben(Path("unused"), reben(path=data))
    shutil.rmtree(data / f"BigEarthNet-S1/{S1[0]}")
    with pytest.raises(UserError, match="4 of 5 patches"):
        describe_reben(Path("unused"), reben(path=data))


@pytest.mark.parametrize("name", ["metadata.parquet", "BigEarthNet-S1", "BigEarthNet-S2"])
def test_other_layout_lists_the_content(data: Path, name: str) -> None:
    (data / name).rename(data / "elsewhere")
    with pytest.raises(UserError, match=rf"{name} is missing; found in .*elsewhere.*bigearth\.net"):
        describe_reben(Path("unused"), reben(path=data))


@pytest.mark.parametrize("classes", ["level_1", "nineteen"])
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
def test_wrong_metadata_are_named(
    data: Path, classes: str, table: pd.DataFrame, expected: str
) -> None:
    table.to_parquet(data / "metadata.parquet")
    with pytest.raises(UserError, match=expected):
        describe_reben(Path("unused"), reben(path=data, classes=classes))


def test_metadata_must_be_parquet(data: Path) -> None:
    (data / "metadata.parquet").write_text("patch_id,labels")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        describe_reben(Path("unused"), reben(path=data))
