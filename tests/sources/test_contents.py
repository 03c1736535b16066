import hashlib
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


def test_what_was_written_here_has_sizes_and_digests(source: Source, tmp_path: Path) -> None:
    found = contents(source, tmp_path).set_index("id")
    for name, files in FILES.items():
        whole = b"".join((tmp_path / file).read_bytes() for file in files)
        assert found.loc[name, "bytes"] == len(whole)
        assert found.loc[name, "md5"] == hashlib.md5(whole).hexdigest()


def test_a_changed_raster_changes_its_row_alone(source: Source, tmp_path: Path) -> None:
    before = contents(source, tmp_path)
    (tmp_path / "b_B03.tif").write_bytes(b"z" * len("b_B03.tif") * 3)
    after = contents(source, tmp_path)
    assert before.iloc[0].equals(after.iloc[0])
    assert before["bytes"].equals(after["bytes"])
    assert before["md5"].tolist()[1] != after["md5"].tolist()[1]


def test_what_lies_elsewhere_is_not_read(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for column in ("s1", "s2"):
        source.manifest[column] = [str(tmp_path / cell) for cell in source.manifest[column]]
    source.manifest.loc[0, "label"] = str(tmp_path / "a_mask.tif")

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    found = contents(source, Path("nowhere"))
    assert found["bytes"].tolist() == [sum(len(f) for f in FILES[name]) * 3 for name in "ab"]
    assert found["md5"].tolist() == ["", ""]


def test_a_missing_raster_is_named(source: Source, tmp_path: Path) -> None:
    (tmp_path / "b_B02.tif").unlink()
    with pytest.raises(UserError, match=r"patch b: .*b_B02\.tif cannot be read"):
        contents(source, tmp_path)
