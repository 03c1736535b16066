from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from eocontrast.config.sources import Split
from eocontrast.rasters.source import COLUMNS
from eocontrast.runtime.errors import UserError
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.official_splits import apply_lists, divide_groups, listed_names

WHERE = "sources.dfc2020.splits"


def patches(count: int = 4) -> pd.DataFrame:
    rows = [(f"ROIs0000_test_0_p{n}", f"a{n}", f"b{n}", f"c{n}", "g", "") for n in range(count)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def splits(lists: Path | Mapping[Split, Path], others: Split = "train") -> list[str]:
    return list(apply_lists(patches(), lists, others, WHERE)["split"])


@pytest.mark.parametrize(
    "text",
    [
        "ROIs0000_test_0_p3\nROIs0000_test_0_p1\n",
        "\ufeffid,file\n0,ROIs0000_test_s2_0_p3.tif\n1,ROIs0000_test_s1_0_p1.tif\n",
        '"ROIs0000_test/dfc_0/ROIs0000_test_dfc_0_p3.tif";"ROIs0000_test_s2_0_p1.tif"',
        "s1\\ROIs0000_test_s1_0_p3.tif\ts2\\ROIs0000_test_s2_0_p3.tif\r\nROIs0000_test_0_p1\r\n",
    ],
)
def test_a_list_is_any_text_that_names_patches_or_rasters(tmp_path: Path, text: str) -> None:
    listed = write(tmp_path / "list", text)
    assert listed_names(listed, WHERE) == ["ROIs0000_test_0_p3", "ROIs0000_test_0_p1"]
    assert splits(listed) == ["train", "test", "train", "test"]


def test_regions_are_named_too(tmp_path: Path) -> None:
    listed = write(tmp_path / "list", "ROIs0000_winter_s2_MexicoCity_p12.tif")
    assert listed_names(listed, WHERE) == ["ROIs0000_winter_MexicoCity_p12"]


def test_a_folder_stands_for_every_patch_of_its_scene(tmp_path: Path) -> None:
    manifest = patches().assign(id=[f"ROIs1158_spring_{s}_p1" for s in (6, 63, 63, 7)])
    manifest.loc[2, "id"] = "ROIs1158_spring_63_p12"
    listed = write(tmp_path / "scenes", "ROIs1158_spring/s1_63\nROIs1868_summer/s1_63\n")
    rois = ["ROIs1158_spring"]
    found = apply_lists(manifest, listed, "pretrain", WHERE, rois)
    assert list(found["split"]) == ["pretrain", "test", "test", "pretrain"]
    with pytest.raises(UserError, match=r"1 of 3 names .* not in the data: ROIs1868_summer_63;"):
        apply_lists(manifest, listed, "pretrain", WHERE)
    one = write(tmp_path / "one", "ROIs1158_spring_s2_63_p12.tif")
    with pytest.raises(UserError, match="lists ROIs1158_spring_63_p12 under test and under train"):
        apply_lists(manifest, {"test": listed, "train": one}, "pretrain", WHERE, rois)


def test_one_list_a_split(tmp_path: Path) -> None:
    train = write(tmp_path / "train.csv", "ROIs0000_test_0_p0")
    test = write(tmp_path / "test.csv", "ROIs0000_test_0_p2,ROIs0000_test_0_p3")
    found = splits({"train": train, "test": test}, "pretrain")
    assert found == ["train", "pretrain", "test", "test"]
    test.write_text("ROIs0000_test_0_p0")
    with pytest.raises(UserError, match="lists ROIs0000_test_0_p0 under train and under test"):
        splits({"train": train, "test": test})


def test_names_that_are_not_in_the_data_are_counted(tmp_path: Path) -> None:
    names = [f"ROIs0000_test_0_p{number}" for number in range(1, 12)]
    listed = write(tmp_path / "list.csv", "\n".join(names))
    with pytest.raises(UserError, match=r"8 of 11 names .*: ROIs0000_test_0_p10, .*_p6;"):
        splits(listed)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read as text"),
        (b"\x80\x04\x95\x10", "pickles are not read"),
        (b"a,b\n1,2\n", "names no patch; expected cells such as ROIs0000_test_0_p12"),
    ],
)
def test_what_is_no_list(tmp_path: Path, content: bytes | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "list.pkl").write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        splits(tmp_path / "list.pkl")
    assert str(caught.value).startswith(f"{WHERE}: {tmp_path}/list.pkl")


def test_a_group_that_the_split_cuts_becomes_two(capsys: pytest.CaptureFixture[str]) -> None:
    cut = patches().assign(group=["g", "g", "g", "h"], split=["test", "train", "pretrain", "test"])
    divided = divide_groups(cut)
    check_manifest(divided)
    assert list(divided["group"]) == ["g_test", "g", "g", "h"]
    assert list(divided["split"]) == list(cut["split"])
    assert "1 of 2 test patches" in capsys.readouterr().err


def test_whole_groups_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    whole = patches().assign(group=["g", "g", "h", "h"], split=["test", "test", "train", "train"])
    pd.testing.assert_frame_equal(divide_groups(whole), whole)
    assert not capsys.readouterr().err
