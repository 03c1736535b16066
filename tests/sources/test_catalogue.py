from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from publishers import reben
from ruamel.yaml import YAML
from shipped import NO_LABELS
from shipped import PARAMS as PARAMETERS

from eocontrast.config.sources import SourceName, SourcesParams
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.source import COLUMNS, Source, read_source
from eocontrast.runtime.errors import UserError
from eocontrast.sources import catalogue
from eocontrast.sources.catalogue import SOURCES, check_manifest, check_paths, fetch_source

ROWS = [
    ["a", "a1.tif", "a2.tif", "Forest", "north", "train"],
    ["b", "b1.tif", "b2.tif", "", "north", "pretrain"],
    ["c", "c1.tif", "c2.tif", "Water", "south", "test"],
    ["d", "d1.tif", "d2.tif", "Water", "east", ""],
]
PUBLISHED = {
    "path": None,
    "url": "https://nowhere.invalid/folder",
    "md5s": None,
    "splits": None,
    "find_overlaps": False,
}
SCENES = {"pretrain_scenes": 1, "train_scenes": 1, "test_scenes": 1}
PARAMS = SourcesParams.model_validate(
    {
        "simulated": {
            "seed": 0,
            "patch_size": 16,
            "scene_size": 1,
            "labelled_scene_size": 1,
            "test_patches": 0,
            **SCENES,
        },
        "bigearthnet": reben().model_dump(),
        "sen12ms": {"seasons": ["spring"], **PUBLISHED},
        "dfc2020": {"train": "validation", **PUBLISHED},
        "ombria": {
            "path": "none",
            "url": "https://nowhere.invalid/folder",
            "split": "published",
            "find_overlaps": False,
        },
        "manifest": {
            "path": "m.csv",
            "s1": {"bands": ["VV"], "units": "dB", "valid_range": [-40, 10]},
            "s2": {"bands": ["B02"], "units": "DN", "valid_range": [0, 10000]},
            "classes": {},
            "labels": NO_LABELS.model_dump(),
        },
        "ssl4eo": YAML(typ="safe").load(PARAMETERS)["sources"]["ssl4eo"],
        "stac": YAML(typ="safe").load(PARAMETERS)["sources"]["stac"],
    }
)


def table(row: int = 0, column: str = "id", value: str = "a") -> pd.DataFrame:
    manifest = pd.DataFrame(ROWS, columns=list(COLUMNS))
    manifest.loc[row, column] = value
    return manifest


def test_every_source_has_a_function() -> None:
    assert set(SOURCES) == set(get_args(SourceName)) == set(SourcesParams.model_fields)


def test_source_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(folder: Path, params: object, *, keep_archives: bool) -> Source:
        assert not keep_archives
        assert params == PARAMS.bigearthnet
        classes = {"Water": 10, "Forest": 1}
        palette = dict.fromkeys(classes, "#000000")
        return Source(SENTINEL1, SENTINEL2_L1C, classes, palette, table(), licence="CC0")

    monkeypatch.setitem(catalogue.SOURCES, "bigearthnet", fetch)
    (tmp_path / "raw").mkdir()
    for name in "abcd":
        for sensor in (1, 2):
            (tmp_path / f"raw/{name}{sensor}.tif").write_bytes(b"x" * sensor)
    source = fetch_source("bigearthnet", tmp_path / "raw", tmp_path / "new" / "folder", PARAMS)
    again = read_source(tmp_path / "new" / "folder")
    pd.testing.assert_frame_equal(again.manifest, source.manifest)
    assert list(again.classes) == ["Water", "Forest"]
    assert (again.name, again.licence) == ("bigearthnet", "CC0")
    assert again.rasters == source.rasters == tmp_path / "raw"
    listed = pd.read_csv(tmp_path / "new/folder/contents.csv")
    assert listed["bytes"].tolist() == [3] * 4
    rasters = {f"{name}{sensor}.tif" for name in "abcd" for sensor in (1, 2)}
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {*rasters, ".digests.csv"}


def test_unknown_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="unknown source 'landsat', expected one of simulated, bigearthnet"
    ):
        fetch_source("landsat", tmp_path, tmp_path, PARAMS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (table().drop(columns="group"), "has no column group"),
        (table().iloc[:0], "no rows"),
        (table(1, "s2", ""), "column s2 is empty at row 1"),
        (table(1, "id", "a"), "id 'a' twice"),
        (table(1, "split", "val"), "split 'val', expected pretrain, train, test"),
        (table(1, "split", "test"), "group 'north' has the splits test and train"),
        (table(1, "split", ""), "group 'north' has the splits none and train"),
        (table(3, "group", "south"), "group 'south' has the splits none and test"),
    ],
)
def test_wrong_manifest_is_refused(manifest: pd.DataFrame, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        check_manifest(manifest)


def test_group_may_be_pretrained_on() -> None:
    check_manifest(table())


def test_lists_inside_a_download(tmp_path: Path) -> None:
    lists = {"test": tmp_path / "raw/dfc2020/test.csv", "train": tmp_path / "mine.csv"}
    listed = PARAMS.dfc2020.model_copy(update={"splits": lists})
    changed = PARAMS.model_copy(update={"dfc2020": listed})
    with pytest.raises(
        UserError, match=r"splits in params.yaml names .*/mine\.csv, which does not"
    ):
        check_paths({"dfc2020": tmp_path / "raw/dfc2020"}, changed)
    (tmp_path / "mine.csv").touch()
    check_paths({"dfc2020": tmp_path / "raw/dfc2020"}, changed)
