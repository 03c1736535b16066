import csv
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import rasterio
from pyarrow import parquet
from rasterio.errors import NotGeoreferencedWarning
from shipped import NO_LABELS

from eocontrast.config.sources import ManifestParams, ModalityParams
from eocontrast.modalities import Modality
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import COLUMNS, read_source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.manifest import describe, fetch, palette

ROWS = [
    ["a", "s1/a.tif", "s2/a_{band}.tif", "Forest", "north", "train"],
    ["b", "s1/b.tif", "s2/b_{band}.tif", "masks/b.png", "north", "train"],
    ["c", "s1/c.tif", "s2/c_{band}.tif", "", "south", "test"],
]


def write(path: Path, count: int, height: int, width: int, dtype: str = "uint16") -> None:
    path.parent.mkdir(exist_ok=True)
    driver = "PNG" if path.suffix == ".png" else "GTiff"
    shape = {"count": count, "height": height, "width": width, "dtype": dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, **shape) as raster:
            raster.write(np.ones((count, height, width), dtype=dtype))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pairs: S1 in one file, S2 in two files of which one is coarser, one mask."""
    for name in "abc":
        write(tmp_path / f"s1/{name}.tif", 2, 12, 12, "float32")
        write(tmp_path / f"s2/{name}_B02.tif", 1, 12, 12)
        write(tmp_path / f"s2/{name}_B05.tif", 1, 6, 6)
    write(tmp_path / "masks/b.png", 1, 12, 12, "uint8")
    return tmp_path


def write_csv(path: Path, rows: list[list[str]], header: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def params(path: Path, **classes: int) -> ManifestParams:
    return ManifestParams(
        path=path,
        s1=ModalityParams(bands=("VV", "VH"), units="dB", valid_range=(-40, 10)),
        s2=ModalityParams(bands=("B02", "B05"), units="DN", valid_range=(0, 10000)),
        classes=classes or {"Forest": 3, "Water": 7},
        labels=NO_LABELS,
    )


def test_data_are_read_in_place(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    source = fetch(out, params(write_csv(data / "m.csv", ROWS)))
    assert not list(out.iterdir())
    source.write(out)
    again = read_source(out)
    assert again.classes == {"Forest": 3, "Water": 7}
    assert set(again.palette) == {"Forest", "Water"}
    assert again.s1 == Modality(("VV", "VH"), "dB", (-40, 10))
    assert again.manifest.label.tolist() == ["Forest", str(data / "masks/b.png"), ""]
    assert again.manifest[["id", "group", "split"]].to_numpy().tolist() == [
        [row[0], *row[4:]] for row in ROWS
    ]
    assert read_raster(again.manifest.s2[0], again.s2).values.shape == (2, 12, 12)


def test_parquet_equals_csv(data: Path) -> None:
    table = pd.DataFrame(ROWS, columns=list(COLUMNS)).replace({"": None})
    table.to_parquet(data / "m.parquet")
    from_parquet = fetch(data, params(data / "m.parquet")).manifest
    from_csv = fetch(data, params(write_csv(data / "m.csv", ROWS))).manifest
    pd.testing.assert_frame_equal(from_parquet, from_csv)


def test_optional_and_extra_columns(data: Path) -> None:
    rows = [["seen", *row[:4]] for row in ROWS]
    path = write_csv(data / "m.csv", rows, ("note", "id", "s1", "s2", "label"))
    manifest = fetch(data, params(path)).manifest
    assert manifest.group.tolist() == manifest.id.tolist()
    assert set(manifest.split) == {""}
    assert list(manifest.columns) == list(COLUMNS)


def test_spreadsheet_csv_is_read(data: Path) -> None:
    text = "\n".join(",".join(row) for row in [list(COLUMNS), *ROWS])
    path = data / "m.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n,,,,,\r\n\r\n")
    assert fetch(data, params(path)).manifest.id.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("row", "column", "value", "expected"),
    [
        (1, "id", "a", r"row 3, id 'a', column id: row 2 has this id already"),
        (1, "id", "A", r"row 3, id 'A', column id: row 2 has this id already"),
        (0, "id", "", r"row 2, id '', column id: empty"),
        (2, "id", "x/y", r"row 4, id 'x/y', column id: '/' is not allowed"),
        (0, "s1", "", r"row 2, id 'a', column s1: empty"),
        (0, "s2", "s2/none.tif", r"row 2, id 'a', column s2: .*none.tif: no such file"),
        (0, "s2", "s2/a_B02.tif", r"column s2: .*1 band, expected 2: B02, B05"),
        (2, "s1", "https://host/a.tif", r"row 4, id 'c', column s1: .* not a file on this machine"),
        (2, "s1", "/vsicurl/a.tif", r"column s1: /vsicurl/a.tif is not a file"),
        (0, "label", "Forrest", r"row 2, id 'a', column label: 'Forrest' .* class is 'Forest'"),
        (0, "split", "val", r"row 2, id 'a', column split: 'val', expected pretrain, train, test"),
        (1, "split", "test", r"row 3, id 'b', column split: test, but row 2 .* 'north' has train"),
        (1, "split", "", r"column split: nothing, but row 2 of the same group 'north' has train"),
        (2, "s1", "s1/b.tif", r"row 4, id 'c', column s1: row 3 also names .*b.tif, .* 'north'"),
    ],
)
def test_mistake_is_located(data: Path, row: int, column: str, value: str, expected: str) -> None:
    rows = [list(cells) for cells in ROWS]
    rows[row][COLUMNS.index(column)] = value
    with pytest.raises(UserError, match=rf"m.csv, .*{expected}"):
        fetch(data, params(write_csv(data / "m.csv", rows)))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("s1/b.tif", (2, 12, 24, "float32"), "row 3.*s1: 12 x 24 pixels, but s2 is 12 x 12 pixels"),
        ("s1/b.tif", (1, 12, 12, "float32"), r"row 3.*s1: .*1 band, expected 2: VV, VH"),
        ("s1/b.tif", (2, 12, 12, "complex64"), "row 3.*s1: .*complex"),
        ("s2/b_B05.tif", (1, 5, 6, "uint16"), "row 3.*s2: .*same ground"),
        ("s2/b_B02.tif", (1, 18, 18, "uint16"), "row 3.*s2: 18 x 18 pixels, but the first row"),
        ("masks/b.png", (1, 6, 6, "uint8"), "row 3.*label: 6 x 6 pixels, but s2 is 12 x 12"),
        ("masks/b.png", (3, 12, 12, "uint8"), "row 3.*label: .*colour picture"),
    ],
)
def test_unfit_raster_is_named(
    data: Path, name: str, shape: tuple[int, int, int, str], expected: str
) -> None:
    write(data / name, *shape)
    with pytest.raises(UserError, match=expected):
        fetch(data, params(write_csv(data / "m.csv", ROWS)))


def test_value_of_a_class_is_no_label(data: Path) -> None:
    rows = [[*ROWS[0][:3], "7", *ROWS[0][4:]], *ROWS[1:]]
    with pytest.raises(UserError, match=r"row 2, .*7 is the value of 'Water' in masks, so write"):
        describe(params(write_csv(data / "m.csv", rows)))


def test_other_format_is_named(data: Path) -> None:
    (data / "s1/c.tif").write_text("<VRTDataset/>")
    with pytest.raises(
        UserError, match=r"row 4, id 'c', column s1: .*c.tif cannot be read as GTiff"
    ):
        fetch(data, params(write_csv(data / "m.csv", ROWS)))


def cut(path: Path) -> Path:
    path.write_text("id,s1,s2,label\na,b,c\n")
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path, "no such manifest"),
        (lambda path: write_csv(path, []), r"has no rows: write one row per patch: id .*scene"),
        (lambda path: write_csv(path, ROWS, ("id", "s1", "s3", "label", "x", "y")), "column s2"),
        (lambda path: write_csv(path, ROWS, ("id", "s1", "s2", "label", "id", "y")), "twice"),
        (cut, "row 2: 3 cells, the header has 4"),
        (lambda path: [path, path.write_bytes(b"\xff\xfe\x00id")][0], "cannot be read as CSV"),
        (lambda path: [path, path.write_bytes(b"")][0], "has no column id, s1, s2, label"),
        (lambda path: [path, path.write_bytes(b"PK\x03\x04id")][0], "save its table as CSV"),
        (lambda path: [p := path.with_suffix(".parquet"), p.write_bytes(b"PAR1")][0], "as Parquet"),
    ],
    ids=["none", "header", "column", "twice", "cells", "binary", "empty", "excel", "parquet"],
)
def test_invalid_manifest_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        fetch(tmp_path, params(make(tmp_path / "m.csv")))


def test_repeated_class_value_is_refused(data: Path) -> None:
    with pytest.raises(UserError, match="two classes one value"):
        fetch(data, params(write_csv(data / "m.csv", ROWS), Forest=1, Water=1))


@pytest.mark.parametrize("many", [2, 10, 15, 40])
def test_palette_has_distinct_colours(many: int) -> None:
    assert len(set(palette({str(index): index for index in range(many)}).values())) == many


def test_empty_manifest_explains_itself(tmp_path: Path) -> None:
    shipped = tmp_path / "manifest.csv"
    shipped.write_text("id,s1,s2,label,group,split\n")
    with pytest.raises(UserError, match="write one row per patch"):
        fetch(tmp_path, params(shipped))


def place_at(folder: Path, name: str, east: float) -> None:
    """Give all rasters of a patch a place 18 pixels apart from the next."""
    for path in (*folder.glob(f"s1/{name}.tif"), *folder.glob(f"s2/{name}_*.tif")):
        with rasterio.open(path, "r+") as raster:
            raster.crs = "EPSG:32633"
            size = 120 / raster.width
            raster.transform = rasterio.Affine(size, 0, 6e5 + east, 0, -size, 5.3e6)


def unsplit(*groups: str) -> list[list[str]]:
    return [[*row[:3], "Forest", group, ""] for row, group in zip(ROWS, groups, strict=True)]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("east", "groups"),
    [
        ((0, 60, 300), ["x", "x", "z"]),
        ((0, 60, 120), ["x", "x", "x"]),
        ((0, 120, 240), ["x", "y", "z"]),
        ((0, 0, 240), ["x", "x", "z"]),
    ],
)
def test_shared_ground_is_one_group(data: Path, east: tuple[float, ...], groups: list[str]) -> None:
    for name, metres in zip("abc", east, strict=True):
        place_at(data, name, metres)
    given = params(write_csv(data / "m.csv", unsplit("x", "y", "z")))
    assert describe(given).manifest.group.tolist() == groups
    apart = given.model_copy(update={"find_overlaps": False})
    assert describe(apart).manifest.group.tolist() == ["x", "y", "z"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_shared_ground_across_splits(data: Path) -> None:
    for name, metres in zip("abc", (0, 300, 60), strict=True):
        place_at(data, name, metres)
    with pytest.raises(
        UserError, match=r"1 of 1 test patches share ground.*row 4 .'c'. with row 2"
    ):
        describe(params(write_csv(data / "m.csv", ROWS)))


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        ([["Forest", "Water"], ["Water"], []], ["Forest|Water", "Water", ""]),
        ([np.array(["Water"]), np.array(["Forest"]), None], ["Water", "Forest", ""]),
        (["Forest", None, "Water"], ["Forest", "", "Water"]),
    ],
)
def test_parquet_cells(data: Path, labels: list[object], read: list[str]) -> None:
    table = pd.DataFrame(ROWS, columns=COLUMNS).assign(label=pd.Series(labels))
    table.set_index("id").to_parquet(data / "m.parquet")
    assert describe(params(data / "m.parquet")).manifest.label.tolist() == read


@pytest.mark.parametrize("cell", [[1, 0], [0.5], {"Forest": 1}])
def test_parquet_numbers_are_refused(data: Path, cell: object) -> None:
    table = pd.DataFrame(ROWS, columns=COLUMNS)
    table["label"] = pd.Series([cell] * 3)
    table.to_parquet(data / "m.parquet")
    with pytest.raises(UserError, match=r"m.parquet, row 2, column label: "):
        describe(params(data / "m.parquet"))


@pytest.mark.parametrize("count", [255, 300, 1000])
def test_too_many_classes(count: int) -> None:
    with pytest.raises(ValueError, match=f"has {count} classes, at most 254"):
        params(Path("m.csv"), **{f"c{number}": number for number in range(count)})
    params(Path("m.csv"), **{f"c{number}": number for number in range(254)})


@pytest.mark.parametrize("tracked", [True, False])
def test_copy_of_an_experiment_reads_the_projects_rasters(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    """DVC removes the copy, so no path may lead there, whether it has the files or not."""
    write_csv(data / "m.csv", ROWS)
    copy = tmp_path / "exps/tmp1"
    copy.mkdir(parents=True)
    shutil.copy(data / "m.csv", copy)
    if tracked:
        shutil.copytree(data / "s1", copy / "s1")
    monkeypatch.setenv("DVC_ROOT", str(data))
    monkeypatch.chdir(copy)
    table = fetch(copy, params(Path("m.csv"))).manifest
    assert table.s1.tolist() == [str(data / f"s1/{name}.tif") for name in "abc"]
    assert table.s2.tolist() == [str(data / f"s2/{name}_{{band}}.tif") for name in "abc"]
    assert table.label.tolist() == ["Forest", str(data / "masks/b.png"), ""]


@pytest.mark.parametrize(
    ("label", "advice"),
    [
        ("['Forest', 'Water']", "write 'Forest|Water'"),
        ("['Water' 'Forest']", "write 'Water|Forest'"),
        ('["Water"]', "write 'Water'"),
        ("Forest, Water", "write 'Forest|Water'"),
        ("forest;water", "write 'Forest|Water'"),
        ("Water ", "write 'Water'"),
        ("Forest | Water", "write 'Forest|Water'"),
        ("3.0", "3.0 is the value of 'Forest' in masks"),
        ("nan", "the closest class is"),
    ],
)
def test_advice_about_labels(data: Path, label: str, advice: str) -> None:
    rows = [[*ROWS[0][:3], label, *ROWS[0][4:]], *ROWS[1:]]
    with pytest.raises(UserError, match=re.escape(advice)):
        describe(params(write_csv(data / "m.csv", rows)))


@pytest.mark.parametrize(("sign", "word"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_named(data: Path, sign: str, word: str) -> None:
    path = write_csv(data / "m.csv", ROWS)
    path.write_text(path.read_text().replace(",", sign))
    with pytest.raises(UserError, match=f"cells are separated by {word}, expected commas"):
        describe(params(path))


@pytest.mark.parametrize("name", ["m.PARQUET", "m.pq", "m.csv"])
def test_parquet_by_content(data: Path, name: str) -> None:
    pd.DataFrame(ROWS, columns=COLUMNS).to_parquet(data / name)
    assert describe(params(data / name)).manifest.id.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("start", ["file://", "file://localhost"])
def test_addresses_of_files(data: Path, start: str) -> None:
    (data / "s1/a.tif").rename(data / "s1/a b.tif")
    rows = [["a", f"{start}{data}/s1/a%20b.tif", *ROWS[0][2:]], *ROWS[1:]]
    path = write_csv(data / "m.csv", rows)
    assert describe(params(path)).manifest.s1[2] == str(data / "s1/a b.tif")


@pytest.mark.parametrize("address", ["file://server/s1/a.tif", "https://a.b/s1/a.tif", "s3://a/b"])
def test_addresses_of_other_machines(data: Path, address: str) -> None:
    rows = [["a", address, *ROWS[0][2:]], *ROWS[1:]]
    with pytest.raises(UserError, match="not a file on this machine's disks"):
        describe(params(write_csv(data / "m.csv", rows)))


def test_parquet_of_structures_is_refused(data: Path) -> None:
    """Arrow cannot turn structures into the text that the metadata of pandas promise."""
    table = pa.Table.from_pandas(pd.DataFrame(ROWS, columns=COLUMNS))
    cells = pa.array([[{"name": "Forest"}]] * 3)
    number = table.schema.get_field_index("label")
    parquet.write_table(table.set_column(number, "label", cells), data / "m.parquet")
    with pytest.raises(UserError, match=r"m.parquet"):
        describe(params(data / "m.parquet"))


@pytest.mark.parametrize("address", ["//[a/s1.tif", "http://[a/s1.tif"])
def test_broken_address_is_located(data: Path, address: str) -> None:
    rows = [["a", address, *ROWS[0][2:]], *ROWS[1:]]
    with pytest.raises(UserError, match=r"row 2, id 'a', column s1: .* is no path of a file"):
        describe(params(write_csv(data / "m.csv", rows)))


@pytest.mark.parametrize("group", ["scene ", " scene", "scene\u00a0"])
def test_space_beside_a_group_is_refused(data: Path, group: str) -> None:
    rows = [[*ROWS[0][:4], group, *ROWS[0][5:]], *ROWS[1:]]
    with pytest.raises(UserError, match=r"row 2, .*column group: .* ends with a space; remove it"):
        describe(params(write_csv(data / "m.csv", rows)))
