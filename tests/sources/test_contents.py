import hashlib
import os
from pathlib import Path

import pandas as pd
import pytest

from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.contents import contents

TWO_BANDS = Modality(("B02", "B03"), "DN", (0.0, 10000.0))
ROWS = [
    ("a", "a1.tif", "a_{band}.tif", "a_mask.tif", "g", "train"),
    ("b", "b1.tif", "b_{band}.tif", "Forest|Lake 1.5", "g", "train"),
]
FILES = {
    "a": ["a1.tif", "a_B02.tif", "a_B03.tif", "a_mask.tif"],
    "b": ["b1.tif", "b_B02.tif", "b_B03.tif"],
}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    for names in FILES.values():
        for name in names:
            (tmp_path / name).write_bytes(name.encode() * 3)
    classes = {"Forest": 1, "Lake 1.5": 2}
    manifest = pd.DataFrame(ROWS, columns=list(COLUMNS))
    return Source(SENTINEL1, TWO_BANDS, classes, dict.fromkeys(classes, "#000000"), manifest)


def test_sizes_and_digests(source: Source, tmp_path: Path) -> None:
    table = contents(source, tmp_path).set_index("id")
    for name, files in FILES.items():
        content = b"".join((tmp_path / file).read_bytes() for file in files)
        assert table.loc[name, "bytes"] == len(content)
        assert table.loc[name, "md5"] == hashlib.md5(content).hexdigest()


def test_changed_raster_changes_its_row(source: Source, tmp_path: Path) -> None:
    before = contents(source, tmp_path)
    raster = tmp_path / "b_B03.tif"
    raster.write_bytes(b"z" * raster.stat().st_size)
    after = contents(source, tmp_path)
    assert before.iloc[0].equals(after.iloc[0])
    assert before["bytes"].equals(after["bytes"])
    assert before["md5"].tolist()[1] != after["md5"].tolist()[1]


def test_known_digests_are_trusted(source: Source, tmp_path: Path) -> None:
    """Bytes changed behind an unchanged size and time go unnoticed: the file was not read."""
    before, raster = contents(source, tmp_path), tmp_path / "b_B03.tif"
    written = raster.stat().st_mtime_ns
    raster.write_bytes(b"z" * raster.stat().st_size)
    os.utime(raster, ns=(written, written))
    pd.testing.assert_frame_equal(contents(source, tmp_path), before)
    os.utime(raster, ns=(written, written + 10**9))
    assert contents(source, tmp_path)["md5"][1] != before["md5"][1]


def test_damaged_digests_are_replaced(source: Source, tmp_path: Path) -> None:
    before = contents(source, tmp_path)
    digests = (tmp_path / ".digests.csv").read_text()
    for damaged in (b"", b"\xff,\n\x00", digests[:50].encode()):
        (tmp_path / ".digests.csv").write_bytes(damaged)
        pd.testing.assert_frame_equal(contents(source, tmp_path), before)
        assert (tmp_path / ".digests.csv").read_text() == digests


def test_user_rasters_are_not_read(source: Source, tmp_path: Path) -> None:
    for column in ("s1", "s2"):
        source.manifest[column] = [str(tmp_path / cell) for cell in source.manifest[column]]
    source.manifest.loc[0, "label"] = str(tmp_path / "a_mask.tif")
    table = contents(source, Path("nowhere"))
    assert table["bytes"].tolist() == [sum(len(f) for f in FILES[name]) * 3 for name in "ab"]
    assert table["md5"].tolist() == ["", ""]


def test_missing_raster_is_named(source: Source, tmp_path: Path) -> None:
    (tmp_path / "b_B02.tif").unlink()
    with pytest.raises(UserError, match=r"patch b: a raster cannot be read: .*b_B02\.tif"):
        contents(source, tmp_path)
