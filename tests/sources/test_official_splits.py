from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from eocontrast.config.sources import Split
from eocontrast.rasters.source import COLUMNS
from eocontrast.runtime.errors import UserError
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.official_splits import apply_lists, divide_groups, read_list

PARAMETER = "sources.dfc2020.splits"


def patches(count: int = 4) -> pd.DataFrame:
    rows = [(f"ROIs0000_test_0_p{n}", f"a{n}", f"b{n}", f"c{n}", "g", "") for n in range(count)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def splits(lists: Path | Mapping[Split, Path], others: Split = "train") -> list[str]:
    return list(apply_lists(patches(), lists, others, PARAMETER)["split"])


@pytest.mark.parametrize(
    "text",
    [
        "ROIs0000_test_0_p3\nROIs0000_test_0_p1\n",
        "\ufeffname,number\nROIs0000_test_s2_0_p3.tif,0\nROIs0000_test_s1_0_p1.tif,1\n",
        '"ROIs0000_test/dfc_0/ROIs0000_test_dfc_0_p3.tif"\r\n"ROIs0000_test_s2_0_p1.tif"\r\n',
        "s1\\ROIs0000_test_s1_0_p3.tif\n\nROIs0000_test_s2_0_p3.tif\nROIs0000_test_0_p1",
    ],
)
def test_names_of_patches_or_rasters(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "list", text)
    assert read_list(path, PARAMETER) == ["ROIs0000_test_0_p3", "ROIs0000_test_0_p1"]
    assert splits(path) == ["train", "test", "train", "test"]


def test_names_of_regions(tmp_path: Path) -> None:
    path = write(tmp_path / "list", "ROIs0000_winter_s2_MexicoCity_p12.tif")
    assert read_list(path, PARAMETER) == ["ROIs0000_winter_MexicoCity_p12"]


def test_folder_names_a_scene(tmp_path: Path) -> None:
    manifest = patches().assign(id=[f"ROIs1158_spring_{s}_p1" for s in (6, 63, 63, 7)])
    manifest.loc[2, "id"] = "ROIs1158_spring_63_p12"
    scenes = write(tmp_path / "scenes", "ROIs1158_spring/s1_63\nROIs1868_summer/s1_63\n")
    rois = ["ROIs1158_spring"]
    applied = apply_lists(manifest, scenes, "pretrain", PARAMETER, rois)
    assert list(applied["split"]) == ["pretrain", "test", "test", "pretrain"]
    with pytest.raises(UserError, match=r"1 of 3 listed names .*, such as ROIs1868_summer_63;"):
        apply_lists(manifest, scenes, "pretrain", PARAMETER)
    one = write(tmp_path / "one", "ROIs1158_spring_s2_63_p12.tif")
    with pytest.raises(UserError, match="spring_63_p12 is in the lists test and train"):
        apply_lists(manifest, {"test": scenes, "train": one}, "pretrain", PARAMETER, rois)


def test_one_list_per_split(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "ROIs0000_test_0_p0")
    test = write(tmp_path / "test.csv", "ROIs0000_test_0_p2\nROIs0000_test_0_p3")
    assert splits({"train": train, "test": test}, "pretrain") == [
        "train",
        "pretrain",
        "test",
        "test",
    ]
    test.write_text("ROIs0000_test_0_p0")
    with pytest.raises(UserError, match="ROIs0000_test_0_p0 is in the lists train and test"):
        splits({"train": train, "test": test})


def test_absent_names_are_counted(tmp_path: Path) -> None:
    names = [f"ROIs0000_test_0_p{number}" for number in range(1, 12)]
    path = write(tmp_path / "list.csv", "\n".join(names))
    counted = r"8 of 11 listed names .* ROIs0000_test_0_p10, .*_p6 and 3 more;"
    with pytest.raises(UserError, match=counted):
        splits(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as UTF-8 text"),
        (b"\x80\x04\x95\x10", "pickles are not read"),
        (b"name\n", "names no patch"),
        (b"ROIs0000_test_0_p1\n1,2\n", "line 2 of .* is '1,2', expected a name such as"),
    ],
)
def test_other_formats_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "list.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        splits(tmp_path / "list.pkl")
    assert str(caught.value).startswith(f"{PARAMETER}: ")


def test_cut_group_is_divided(capsys: pytest.CaptureFixture[str]) -> None:
    cut = patches().assign(group=["g", "g", "g", "h"], split=["test", "train", "pretrain", "test"])
    divided = divide_groups(cut)
    check_manifest(divided)
    assert list(divided["group"]) == ["g_test", "g", "g", "h"]
    assert list(divided["split"]) == list(cut["split"])
    assert "1 of 2 test patches belong to 1 groups" in capsys.readouterr().err


def test_whole_groups_are_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    whole = patches().assign(group=["g", "g", "h", "h"], split=["test", "test", "train", "train"])
    pd.testing.assert_frame_equal(divide_groups(whole), whole)
    assert not capsys.readouterr().err
