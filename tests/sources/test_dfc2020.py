import shutil
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import rasterio
from layouts import by_regions, by_validation_folders, flat
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.config.sources import DFC2020Params, Split
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.normalisation.build import build_store
from eocontrast.rasters.masks import mask_size
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.dfc2020 import HALVES, fetch

Half = Literal["validation", "test"]


@pytest.fixture
def data(scenes: Path, tmp_path: Path) -> Path:
    """4 patches of `validation`, 12 of `test`."""
    for half in HALVES:
        shutil.copytree(scenes / f"ROIs0000_{half}", tmp_path / f"ROIs0000_{half}")
    return tmp_path


def read(
    data: Path,
    train: Half = "validation",
    splits: Path | dict[Split, Path] | None = None,
    find_overlaps: bool = False,
) -> Source:
    params = DFC2020Params(
        path=data,
        url="https://nowhere.invalid/folder",
        md5s=None,
        train=train,
        splits=splits,
        find_overlaps=find_overlaps,
    )
    return fetch(Path("unused"), params)


@pytest.mark.parametrize(
    ("train", "counts"),
    [("validation", {"train": 4, "test": 12}), ("test", {"train": 12, "test": 4})],
)
def test_either_half_can_be_learnt_from(data: Path, train: Half, counts: dict[str, int]) -> None:
    rows = read(data, train).manifest
    check_manifest(rows)
    assert rows["split"].value_counts().to_dict() == counts
    learnt = rows[rows["split"] == "train"]
    assert set(learnt["group"]) == {f"{train}_0"}
    assert learnt["s1"].str.contains(f"ROIs0000_{train}/s1_0/").all()


def test_every_pair_is_named_where_it_lies_with_its_mask(data: Path) -> None:
    source = read(data)
    rows = source.manifest
    assert tuple(rows.columns) == COLUMNS
    assert (source.s1, source.s2) == (SENTINEL1, SENTINEL2_L1C)
    assert (source.classes, source.palette) == (DFC_CLASSES, DFC_PALETTE)
    for sensor, modality in source.modalities.items():
        assert {bands_size(path, modality) for path in rows[sensor]} == {(16, 16)}
    assert {mask_size(Path(path)) for path in rows["label"]} == {(16, 16)}
    assert {Path(path) for path in rows["label"]} == set(data.glob("ROIs0000_*/dfc_0/*.tif"))


def test_rows_come_in_the_order_in_which_people_count(data: Path) -> None:
    ids = list(read(data).manifest["id"])
    halves = ["validation"] * 4 + ["test"] * 12
    numbers = [*range(4), *range(12)]
    expected = [f"ROIs0000_{half}_0_p{n}" for half, n in zip(halves, numbers, strict=True)]
    assert ids == expected


@pytest.mark.parametrize("kind", ["s1", "s2", "dfc"])
def test_a_missing_partner_is_named(data: Path, kind: str) -> None:
    (data / f"ROIs0000_test/{kind}_0/ROIs0000_test_{kind}_0_p10.tif").unlink()
    expected = rf"{kind}_0_p10\.tif is missing, but patch ROIs0000_test_0_p10.*lack their {kind}"
    with pytest.raises(UserError, match=expected):
        read(data)


def test_the_older_folders_hold_the_same_patches(data: Path) -> None:
    before = read(data).manifest
    by_validation_folders(data)
    after = read(data).manifest
    assert list(after["s1"][:4]) == [
        path.replace("/s1_0/", "/s1_validation/") for path in before["s1"][:4]
    ]
    columns = ["id", "group", "split"]
    pd.testing.assert_frame_equal(after[columns], before[columns])
    assert all(Path(path).is_file() for path in after["label"])


def test_groups_of_one_patch_are_no_danger_to_a_split_that_is_given(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read(data, find_overlaps=True)
    assert capsys.readouterr().err.splitlines() == [
        "16 groups of 16 patches: 0 merged by content, 0 more by place, 16 remain"
    ]


@pytest.mark.parametrize("folder", ["dfc2020_s1s2", "."])
def test_a_flat_folder_is_the_half_test_split_by_group(
    data: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flat(data, folder)
    rows = read(data, find_overlaps=True).manifest
    check_manifest(rows)
    assert len(rows) == 12
    assert set(rows["split"]) == {""}
    names = [f"ROIs0000_test_s2_0_p{number}.tif" for number in range(12)]
    assert [Path(path) for path in rows["s2"]] == [data / folder / "s2" / name for name in names]
    said = capsys.readouterr().err
    assert f"only the half test of DFC2020 is in {data}, 12 patches: it is split by group" in said
    assert "no patches share ground" in said


def test_one_half_without_overlaps_or_lists_leaves_nothing_to_test_on(data: Path) -> None:
    flat(data)
    with pytest.raises(UserError, match=r"only the half test .* 12 patches.*find_overlaps.*found"):
        read(data)


def test_regions_are_groups_that_are_split_later(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_regions(data)
    rows = read(data).manifest
    assert "sources.dfc2020.train = validation does not apply" in capsys.readouterr().err
    check_manifest(rows)
    assert rows["group"].value_counts().to_dict() == {"Mumbai": 12, "KippaRing": 4}
    assert set(rows["split"]) == {""}
    assert rows["id"][0] == "ROIs0000_spring_KippaRing_p0"
    assert all(Path(path).is_file() for path in rows["label"])


def test_a_store_of_regions_tests_on_whole_ones(data: Path, tmp_path: Path) -> None:
    by_regions(data)
    (tmp_path / "manifests").mkdir()
    read(data).write(tmp_path / "manifests")
    counts = build_store(
        tmp_path / "manifests",
        tmp_path / "store",
        tmp_path / "audit.json",
        seed=0,
        test_fraction=0.3,
        shard_mib=1,
        max_bad_fraction=0,
        check_shift=False,
        workers=1,
    )
    assert counts == {"test": 4, "train": 12, "quarantined": 0}


def test_kinds_that_are_not_read_may_be_missing(data: Path) -> None:
    for folder in data.glob("ROIs0000_*/lc_0"):
        shutil.rmtree(folder)
    (data / "ROIs0000_test/readme.txt").touch()
    assert len(read(data).manifest) == 16


def test_a_missing_raster_is_named_in_every_layout(data: Path) -> None:
    by_regions(data)
    (data / "ROIs0000_autumn/s2_Mumbai/ROIs0000_autumn_s2_Mumbai_p10.tif").unlink()
    expected = r"s2_Mumbai_p10\.tif is missing.*1 of 12 patches of ROIs0000_autumn lack their s2"
    with pytest.raises(UserError, match=expected):
        read(data)


def test_the_same_patches_twice_are_refused(data: Path) -> None:
    shutil.copytree(data / "ROIs0000_test/s1_0", data / "dfc2020_s1s2/s1")
    with pytest.raises(UserError, match=r"holds patches of ROIs0000_test twice, as .*dfc2020_s1s2"):
        read(data)
    shutil.rmtree(data / "dfc2020_s1s2")
    copy = shutil.copytree(data, data.with_name("copy"))
    by_regions(copy)
    shutil.copytree(copy, data, dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"holds DFC2020 twice, by halves .* and by regions"):
        read(data)


def test_no_layout_is_told_with_all_of_them_and_the_page(data: Path) -> None:
    for half in ("validation", "test"):
        (data / f"ROIs0000_{half}").rename(data / f"dfc2020_{half}")
    with pytest.raises(UserError) as caught:
        read(data)
    for part in (
        "ROIs0000_test/dfc_0/ROIs0000_test_dfc_0_p<number>.tif",
        "ROIs0000_test/s1_test/",
        "dfc2020_s1s2/s1/",
        "ROIs0000_<season>/s1_<Region>/",
        "ROIs0000_validation",
        "dfc2020_test, dfc2020_validation",
        "sources.dfc2020.path",
        "10.21227/rha7-m332",
    ):
        assert part in str(caught.value)


def overlap(data: Path, first: str, second: str) -> None:
    """Give both the ground of the first, without georeference: real archives may carry none."""
    values: list[NDArray[np.uint16]] = []
    for name in (first, second):
        path = data / name
        with rasterio.open(path) as raster:
            pixels = raster.read()
        pixels[:, :8, :8] = values[0][:, 8:, 8:] if values else pixels[:, :8, :8]
        values.append(pixels)
        shape = dict(zip(("count", "height", "width"), pixels.shape, strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", "GTiff", dtype=pixels.dtype, **shape) as raster:
                raster.write(pixels)


def test_overlaps_make_groups_and_leave_the_official_split(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {half: f"ROIs0000_{half}/s2_0/ROIs0000_{half}_s2_0" for half in HALVES}
    overlap(data, f"{names['test']}_p3.tif", f"{names['test']}_p9.tif")
    overlap(data, f"{names['validation']}_p1.tif", f"{names['test']}_p5.tif")
    before, rows = read(data).manifest, read(data, find_overlaps=True).manifest
    check_manifest(rows)
    assert list(rows["split"]) == list(before["split"])
    groups = dict(zip(rows["id"], rows["group"], strict=True))
    assert groups["ROIs0000_test_0_p3"] == groups["ROIs0000_test_0_p9"]
    assert groups["ROIs0000_test_0_p5"] == "ROIs0000_validation_0_p1_test"
    assert len(set(groups.values())) == 15
    assert "1 of 12 test patches share ground" in capsys.readouterr().err


def test_lists_take_the_place_of_the_halves(data: Path) -> None:
    listed = data / "test.csv"
    listed.write_text("ROIs0000_validation_s2_0_p2.tif\nROIs0000_test_0_p7\n")
    rows = read(data, splits=listed).manifest
    check_manifest(rows)
    held_out = {"ROIs0000_validation_0_p2", "ROIs0000_test_0_p7"}
    assert set(rows["id"][rows["split"] == "test"]) == held_out
    assert set(rows["split"]) == {"train", "test"}
    rows = read(data, splits={"train": listed}).manifest
    assert rows["split"].value_counts().to_dict() == {"pretrain": 14, "train": 2}
    rows = read(data, splits={"test": listed}).manifest
    assert rows["split"].value_counts().to_dict() == {"train": 14, "test": 2}
