from collections.abc import Iterable
from pathlib import Path

import pytest

from eocontrast.runtime.errors import UserError
from eocontrast.sources.rois import RoiPatch, data_folder, find_patches, patch_name, scene_name


def touch(folder: Path, paths: Iterable[str]) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def pair(scene: str, number: str) -> list[str]:
    return [RoiPatch("ROIs1_spring", scene, number).path(kind) for kind in ("s1", "s2")]


def find(folder: Path) -> list[RoiPatch]:
    return find_patches(folder, "ROIs1_spring", ("s1", "s2"), "see the manual")


def test_path_and_name() -> None:
    patch = RoiPatch("ROIs1158_spring", "1", "30")
    assert patch.path("s2") == "ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p30.tif"
    assert patch.name == "ROIs1158_spring_1_p30"


def test_patches_are_in_natural_order(tmp_path: Path) -> None:
    places = [("10", "2"), ("2", "100"), ("2", "30"), ("10", "0"), ("1", "7")]
    touch(tmp_path, [path for place in places for path in pair(*place)])
    order = [(patch.scene, patch.number) for patch in find(tmp_path)]
    assert order == [("1", "7"), ("2", "30"), ("2", "100"), ("10", "0"), ("10", "2")]


@pytest.mark.parametrize(
    "other",
    [
        "ROIs1_spring/s1_1/._ROIs1_spring_s1_1_p8.tif",
        "ROIs1_spring/s1_1/ROIs1_spring_s1_1_p8.tif.aux.xml",
        "ROIs1_spring/s1_1/ROIs1_spring_s1_1_p8 (1).tif",
        "ROIs1_spring/s1_1/ROIs1_spring_s1_2_p8.tif",
        "ROIs1_spring/lc_1/ROIs1_spring_lc_1_p8.tif",
        "ROIs2_fall/s1_1/ROIs2_fall_s1_1_p8.tif",
    ],
)
def test_other_files_are_ignored(tmp_path: Path, other: str) -> None:
    touch(tmp_path, [*pair("1", "7"), other])
    assert find(tmp_path) == [RoiPatch("ROIs1_spring", "1", "7")]


@pytest.mark.parametrize(("missing", "kind"), [(0, "s1"), (1, "s2")])
def test_missing_raster_is_named(tmp_path: Path, missing: int, kind: str) -> None:
    touch(tmp_path, [*pair("1", "7"), pair("2", "11")[1 - missing], pair("2", "9")[1 - missing]])
    with pytest.raises(UserError) as caught:
        find(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/ROIs1_spring/{kind}_2/ROIs1_spring_{kind}_2_p9.tif is")
    names = "ROIs1_spring_2_p9, ROIs1_spring_2_p11"
    expected = f"2 of 3 patches of ROIs1_spring have other rasters but no {kind} ({names}). Unpack"
    assert expected in message
    assert message.endswith("see the manual")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "found no such folder"),
        (["s1_1/p1.tif", "s2_1/p1.tif"], "found in data: s1_1, s2_1"),
        ([f"{name}.zip" for name in "abcdefg"], r"a\.zip, b\.zip.* e\.zip and 2 more"),
        (["ROIs1_spring/s1/p1.tif"], "found in ROIs1_spring: s1;"),
    ],
)
def test_other_layout_lists_the_content(tmp_path: Path, files: list[str], expected: str) -> None:
    touch(tmp_path / "data", files)
    with pytest.raises(UserError, match=expected) as caught:
        find(tmp_path / "data")
    assert "s1_<scene>/ROIs1_spring_s1_<scene>_p<number>.tif" in str(caught.value)
    assert str(caught.value).endswith("see the manual")


def test_file_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").touch()
    with pytest.raises(UserError, match="found a file"):
        find(tmp_path / "archive.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found in empty: nothing"):
        find(tmp_path / "empty")


def test_folder_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert data_folder(Path("~/SEN12MS")) == Path("/home/someone/SEN12MS")
    assert data_folder(Path("data/x")) == Path.cwd() / "data/x"


def test_named_scenes_keep_their_layout(tmp_path: Path) -> None:
    layouts = ("{roi}/{kind}_{scene}", "{roi}/{kind}_{half}", "flat/{kind}")
    for layout in layouts:
        places = [("Mumbai", "10"), ("CapeTown", "3"), ("Mumbai", "2"), ("0", "7")]
        patches = [RoiPatch("ROIs1_spring", *place, layout) for place in places]
        folder = tmp_path / layout.replace("/", "_")
        touch(folder, [patch.path(kind) for patch in patches for kind in ("s1", "s2")])
        listed = find_patches(folder, "ROIs1_spring", ("s1", "s2"), "see the manual", layouts)
        assert listed == [patches[3], patches[1], patches[2], patches[0]]
    assert patches[1].path("s2") == "flat/s2/ROIs1_spring_s2_CapeTown_p3.tif"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ROIs1_spring_12_p7", "ROIs1_spring_12_p7"),
        (" a/b/ROIs1_spring_lc_12_p7.tif ", "ROIs1_spring_12_p7"),
        ("ROIs1_spring_s1_CapeTown_p7.tif", "ROIs1_spring_CapeTown_p7"),
        ("ROIs1_spring_12_p7.tif.aux.xml", None),
        ("patch", None),
        ("", None),
    ],
)
def test_patch_name(text: str, expected: str | None) -> None:
    assert patch_name(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ROIs1158_spring/s1_63", "ROIs1158_spring_63"),
        ("data\\ROIs1158_spring\\lc_63 ", "ROIs1158_spring_63"),
        ("ROIs0000_autumn/s2_CapeTown", "ROIs0000_autumn_CapeTown"),
        ("ROIs1158_spring/s1_63/p1.tif", None),
        ("s1_63", None),
        ("", None),
    ],
)
def test_scene_name(text: str, expected: str | None) -> None:
    assert scene_name(text) == expected
