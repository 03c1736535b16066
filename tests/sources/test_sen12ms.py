import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from eocontrast.config.sources import SEN12MSParams
from eocontrast.labels import DFC_CLASSES
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.rois import ROIS
from eocontrast.sources.sen12ms import fetch

PLACE = {"url": "https://nowhere.invalid/folder", "md5s": None}
ALL = ("spring", "summer", "fall", "winter")


@pytest.fixture
def data(scenes: Path) -> Path:
    """Five scenes: two of spring, one of each other season."""
    return scenes


def read(
    data: Path, *seasons: str, splits: Path | None = None, find_overlaps: bool = False
) -> Source:
    fields = {"seasons": seasons, "splits": splits, "find_overlaps": find_overlaps}
    return fetch(Path("unused"), SEN12MSParams.model_validate(PLACE | {"path": data} | fields))


def test_pairs_are_listed_in_place(data: Path) -> None:
    source = read(data, *ALL)
    rows = source.manifest
    check_manifest(rows)
    assert tuple(rows.columns) == COLUMNS
    assert (source.s1, source.s2) == (SENTINEL1, SENTINEL2_L1C)
    assert source.classes == DFC_CLASSES
    assert set(rows["split"]) == {"pretrain"}
    assert set(rows["label"]) == {""}
    for sensor, modality in source.modalities.items():
        assert {bands_size(path, modality) for path in rows[sensor]} == {(16, 16)}
        wanted = {path for roi in ROIS.values() for path in data.glob(f"{roi}/{sensor}_*/*.tif")}
        assert set(map(Path, rows[sensor])) == wanted


def test_scene_is_a_group(data: Path) -> None:
    rows = read(data, *ALL).manifest
    groups = ["spring_1", "spring_5", "summer_2", "fall_3", "winter_4"]
    assert list(rows["group"]) == [group for group in groups for _ in range(4)]
    assert list(rows["id"][4:6]) == ["ROIs1158_spring_5_p0", "ROIs1158_spring_5_p1"]


def test_seasons_are_selected(data: Path) -> None:
    assert set(read(data, "fall", "summer").manifest["group"]) == {"fall_3", "summer_2"}


@pytest.mark.parametrize("seasons", [(), ("autumn",), ("fall", "fall")])
def test_wrong_seasons_are_refused(seasons: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="seasons"):
        SEN12MSParams.model_validate(
            PLACE | {"path": "SEN12MS", "seasons": seasons, "splits": None, "find_overlaps": False}
        )


def test_missing_season_names_the_page(tmp_path: Path) -> None:
    (tmp_path / "ROIs1158_spring_lc.tar.gz").touch()
    with pytest.raises(UserError) as caught:
        read(tmp_path, "spring")
    for part in (
        "ROIs1158_spring/s1_<scene>/ROIs1158_spring_s1_<scene>_p<number>.tif",
        "ROIs1158_spring_lc.tar.gz",
        "sources.sen12ms",
        "10.14459/2019mp1474000",
    ):
        assert part in str(caught.value)


def test_missing_raster_is_named(data: Path, tmp_path: Path) -> None:
    for kind in ("s1_1", "s2_1"):
        shutil.copytree(data / f"ROIs1158_spring/{kind}", tmp_path / f"ROIs1158_spring/{kind}")
    (tmp_path / "ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p2.tif").unlink()
    with pytest.raises(
        UserError,
        match=r"s2_1_p2\.tif is missing: 1 of 4 patches .* no s2 \(ROIs1158_spring_1_p2\)",
    ):
        read(tmp_path, "spring")


def test_listed_patches_are_held_out(data: Path, tmp_path: Path) -> None:
    held_out = [f"ROIs1868_summer_s2_2_p{number}.tif" for number in range(4)]
    listed = tmp_path / "test_list.txt"
    listed.write_text("\n".join(["name", *held_out, "ROIs1158_spring_s2_5_p1.tif"]))
    rows = read(data, "spring", "summer", splits=listed).manifest
    check_manifest(rows)
    by_group = rows.groupby("group")["split"].unique().map(list).to_dict()
    assert by_group == {
        "spring_1": ["pretrain"],
        "spring_5": ["pretrain"],
        "spring_5_test": ["test"],
        "summer_2": ["test"],
    }
    # names of other seasons are ignored
    assert set(read(data, "spring", splits=listed).manifest["split"]) == {"pretrain", "test"}


def test_overlapping_scenes_are_merged(data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "data")
    shutil.copy(
        folder / "ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p3.tif",
        folder / "ROIs1970_fall/s2_3/ROIs1970_fall_s2_3_p0.tif",
    )
    groups = read(folder, *ALL, find_overlaps=True).manifest["group"]
    assert groups.value_counts().to_dict() == {
        "spring_1": 8,
        "spring_5": 4,
        "summer_2": 4,
        "winter_4": 4,
    }
