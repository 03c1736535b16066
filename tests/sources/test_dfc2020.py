import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from layouts import by_halves, by_regions, by_validation_folders, flat
from numpy.typing import NDArray
from publishers import mirrored
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.masks import mask_size
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.dfc2020 import HALVES, fetch


@pytest.fixture
def data(scenes: Path, tmp_path: Path) -> Path:
    """4 patches of `validation`, 12 of `test`."""
    for half in HALVES:
        shutil.copytree(scenes / f"ROIs0000_{half}", tmp_path / f"ROIs0000_{half}")
    return tmp_path


def read(data: Path, **fields: object) -> Source:
    return fetch(
        Path("unused"),
        mirrored(path=data, **{"train": "validation", "find_overlaps": False, **fields}),
    )


@pytest.mark.parametrize(
    ("train", "counts"),
    [("validation", {"train": 4, "test": 12}), ("test", {"train": 12, "test": 4})],
)
def test_either_half_is_trained_on(data: Path, train: str, counts: dict[str, int]) -> None:
    rows = read(data, train=train).manifest
    check_manifest(rows)
    assert rows["split"].value_counts().to_dict() == counts
    train_rows = rows[rows["split"] == "train"]
    assert set(train_rows["group"]) == {f"{train}_0"}
    assert train_rows["s1"].str.contains(f"ROIs0000_{train}/s1_0/").all()


def test_pairs_and_masks_in_place(data: Path) -> None:
    source = read(data)
    rows = source.manifest
    assert tuple(rows.columns) == COLUMNS
    assert (source.s1, source.s2) == (SENTINEL1, SENTINEL2_L1C)
    assert (source.classes, source.palette) == (DFC_CLASSES, DFC_PALETTE)
    for sensor, modality in source.modalities.items():
        assert {bands_size(path, modality) for path in rows[sensor]} == {(16, 16)}
    assert {mask_size(Path(path)) for path in rows["label"]} == {(16, 16)}
    assert {Path(path) for path in rows["label"]} == set(data.glob("ROIs0000_*/dfc_0/*.tif"))


def test_rows_are_in_natural_order(data: Path) -> None:
    ids = list(read(data).manifest["id"])
    halves = ["validation"] * 4 + ["test"] * 12
    numbers = [*range(4), *range(12)]
    expected = [f"ROIs0000_{half}_0_p{n}" for half, n in zip(halves, numbers, strict=True)]
    assert ids == expected


@pytest.mark.parametrize("kind", ["s1", "s2", "dfc"])
@pytest.mark.parametrize(
    ("layout", "folder", "scene"), [(by_halves, "test", "0"), (by_regions, "autumn", "Mumbai")]
)
def test_missing_raster_is_named(
    data: Path, layout: Callable[[Path], None], folder: str, scene: str, kind: str
) -> None:
    layout(data)
    raster = f"ROIs0000_{folder}/{kind}_{scene}/ROIs0000_{folder}_{kind}_{scene}_p10.tif"
    (data / raster).unlink()
    with pytest.raises(UserError, match=rf"{raster} is missing: 1 of 12 patches .* no {kind}"):
        read(data)


def test_older_folders_are_equivalent(data: Path) -> None:
    before = read(data).manifest
    by_validation_folders(data)
    after = read(data).manifest
    assert list(after["s1"][:4]) == [
        path.replace("/s1_0/", "/s1_validation/") for path in before["s1"][:4]
    ]
    columns = ["id", "group", "split"]
    pd.testing.assert_frame_equal(after[columns], before[columns])
    assert all(Path(path).is_file() for path in after["label"])


def test_single_groups_need_no_warning(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(data, find_overlaps=True)
    assert capsys.readouterr().err.splitlines() == [
        "16 groups of 16 patches: 0 merged by content, 0 more by place, 16 remain"
    ]


@pytest.mark.parametrize("folder", ["dfc2020_s1s2", "."])
def test_flat_folder_is_one_half(
    data: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flat(data, folder)
    rows = read(data, find_overlaps=True).manifest
    check_manifest(rows)
    assert len(rows) == 12
    assert set(rows["split"]) == {""}
    names = [f"ROIs0000_test_s2_0_p{number}.tif" for number in range(12)]
    assert [Path(path) for path in rows["s2"]] == [data / folder / "s2" / name for name in names]
    printed = capsys.readouterr().err
    assert f"{data} has only the half test of DFC2020, 12 patches: it is split by group" in printed
    assert "no patches share ground" in printed


def test_single_half_needs_overlaps(data: Path) -> None:
    flat(data)
    with pytest.raises(UserError, match=r"only the half test .* 12 patches.*find_overlaps.*found"):
        read(data)


def test_regions_are_groups(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_regions(data)
    rows = read(data).manifest
    assert "sources.dfc2020.train = validation does not apply" in capsys.readouterr().err
    check_manifest(rows)
    assert rows["group"].value_counts().to_dict() == {"Mumbai": 12, "KippaRing": 4}
    assert set(rows["split"]) == {""}
    assert rows["id"][0] == "ROIs0000_spring_KippaRing_p0"
    assert all(Path(path).is_file() for path in rows["label"])


def test_land_cover_may_be_missing(data: Path) -> None:
    for folder in data.glob("ROIs0000_*/lc_0"):
        shutil.rmtree(folder)
    (data / "ROIs0000_test/readme.txt").touch()
    assert len(read(data).manifest) == 16


def test_repeated_patches_are_refused(data: Path) -> None:
    shutil.copytree(data / "ROIs0000_test/s1_0", data / "dfc2020_s1s2/s1")
    with pytest.raises(
        UserError, match=r"has the patches of ROIs0000_test twice, as .*dfc2020_s1s2"
    ):
        read(data)
    shutil.rmtree(data / "dfc2020_s1s2")
    copy = shutil.copytree(data, data.with_name("copy"))
    by_regions(copy)
    shutil.copytree(copy, data, dirs_exist_ok=True)
    with pytest.raises(UserError, match=r"has DFC2020 twice, by halves .* and by regions"):
        read(data)


def test_unknown_layout_lists_all(data: Path) -> None:
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
    """Give two patches a common quadrant, without georeference as in some archives."""
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


def test_overlaps_keep_the_split(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_lists_replace_the_halves(data: Path) -> None:
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
