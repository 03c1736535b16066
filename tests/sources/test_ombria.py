"""Small images with the names and forms of OMBRIA, read in place or fetched from this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from layouts import zipped
from numpy.typing import NDArray
from raster_files import write_raster
from scipy.ndimage import gaussian_filter
from servers import HttpServer

from eocontrast.config.sources import OmbriaParams
from eocontrast.modalities import implausible
from eocontrast.normalisation.audit import audit_sensor
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.sources import ombria
from eocontrast.sources.catalogue import check_manifest
from eocontrast.sources.ombria_files import COMMIT, describe_files, find_places, image

SIDE = 32
TRAIN, TEST = ("0001", "0002", "0003", "0005"), ("0004", "0006")
"""0001 to 0004 are a row of adjacent tiles; 0005 and 0006 lie elsewhere."""


def scene(seed: int, wide: int) -> NDArray[np.uint8]:
    """Draw three bands of a smooth landscape of 8 bits."""
    fields = np.random.default_rng(seed).normal(size=(3, SIDE, SIDE * wide))
    smooth = gaussian_filter(fields, (0, 4, 4))
    return np.asarray(127 + 80 * smooth / np.abs(smooth).max()).astype(np.uint8)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six places."""
    folder = tmp_path_factory.mktemp("ombria")
    images: dict[tuple[str, str], NDArray[np.uint8]] = {}
    for number, date in enumerate(("before", "after")):
        row = np.split(scene(number, 4), 4, axis=2)
        images |= {(f"000{place + 1}", date): tile for place, tile in enumerate(row)}
        for place in ("0005", "0006"):
            images[place, date] = scene(10 * int(place) + number, 1)
    for (place, date), values in images.items():
        split = "test" if place in TEST else "train"
        values[:, 8:10, 8:10] = 0  # black, and no missing data
        mask = np.where(values[:1] < 120, 255, 0).astype(np.uint8)
        files = {("S1", date): values[:1], ("S2", date): values, ("S2", "mask"): mask}
        for kind, bands in files.items():
            path = folder / image(split, place, *kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_raster(path, bands, "PNG")
    return folder


def params(**fields: object) -> OmbriaParams:
    defaults = {"path": "none", "url": "http://127.0.0.1", "split": "published"}
    return OmbriaParams.model_validate({**defaults, "find_overlaps": True, **fields})


def read(data: Path, **fields: object) -> Source:
    return ombria.fetch(Path("unused"), params(path=data, **fields))


def test_places_keep_published_split(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read(data).manifest
    check_manifest(rows)
    assert rows["split"].value_counts().to_dict() == {"pretrain": 4, "train": 4, "test": 2}
    assert set(rows["id"][rows["label"] == ""]) == {f"{place}_before" for place in TRAIN}
    groups = dict(zip(rows["id"], rows["group"], strict=True))
    assert groups["0001_before"] == groups["0001_after"] == groups["0003_after"] == "0001"
    assert groups["0004_after"] == "0001_test"
    assert groups["0006_after"] == "0006"
    printed = capsys.readouterr().err
    assert "6 places of OMBRIA form 3 regions of adjacent tiles. 1 of 2 places" in printed
    assert "1 of 2 test patches belong to 1 groups that are also trained on" in printed
    assert f"{data} differs from the published files" in printed


def test_regions_are_left_whole(data: Path) -> None:
    rows = read(data, split="regions").manifest
    check_manifest(rows)
    assert len(rows) == 12
    assert set(rows["split"]) == {""}
    assert rows.groupby("group").size().to_dict() == {"0001": 8, "0005": 2, "0006": 2}


def test_places_are_groups_without_overlaps(data: Path) -> None:
    assert read(data, find_overlaps=False).manifest["group"].nunique() == 6


def test_copied_place_is_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    for date in ("before", "after"):
        values = scene(50 + (date == "after"), 1)
        values[:, 8:10, 8:10] = 0
        brighter = values + np.uint8(3)  # encoded anew: no byte is shared
        write_raster(copy / image("test", "0006", "S2", date), brighter, "PNG")
    rows = read(copy).manifest
    assert "1 pairs look alike: 0005 and 0006" in capsys.readouterr().err
    assert dict(zip(rows["id"], rows["group"], strict=True))["0006_after"] == "0005_test"


def test_black_pixels_are_data(data: Path) -> None:
    source = read(data)
    for sensor, modality in source.modalities.items():
        raster = read_raster(source.manifest[sensor][0], modality, source.declared(sensor))
        assert raster.values.min() == 0
        missing = np.zeros(raster.values.shape[1:], np.bool_)
        assert np.isfinite(raster.values).all()
        assert audit_sensor("0001", sensor, modality, raster.values, missing) == []


def test_audit_finds_undeclared_eight_bits(data: Path) -> None:
    reflectance = replace(ombria.FALSE_COLOUR, valid_range=(0.0, 10000.0))
    source = read(data)
    raster = read_raster(source.manifest["s2"][0], reflectance, source.declared("s2"))
    missing = np.zeros(raster.values.shape[1:], np.bool_)
    found = audit_sensor("0001", "s2", reflectance, raster.values, missing)
    assert [finding.rule for finding in found] == ["implausible_units"]
    assert "looks like an image of 8 bits" in found[0].message


def test_values_beyond_eight_bits() -> None:
    reason = implausible(np.array([200.0, 2600.0]), ombria.FALSE_COLOUR)
    assert "an image of 8 bits cannot hold" in reason


def test_missing_image_is_named(data: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(data, tmp_path / "data")
    lost = image("train", "0002", "S1", "after")
    (copy / lost).unlink()
    with pytest.raises(UserError, match=rf"{lost} is missing: 1 of 4 places of train .*\(0002\)"):
        read(copy)


def test_other_folder_is_described(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(UserError, match=r"S2_before_<place>\.png in .*, found .*notes"):
        read(tmp_path)


@pytest.fixture
def served(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    """An HTTP server of the archive, in the folder that GitHub wraps it in."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(ombria, "PUBLISHED", describe_files(data, find_places(data)))
    packed = tmp_path / "packed"
    shutil.copytree(data, packed / f"OMBRIA-{COMMIT}")
    (packed / f"OMBRIA-{COMMIT}/README.md").write_text("not unpacked")
    server = HttpServer({f"/archive/{COMMIT}.zip": zipped(packed)})
    yield server
    server.stop()


def fetched(server: HttpServer, folder: Path) -> Source:
    return ombria.fetch(folder, params(url=f"{server.url}/archive"))


@pytest.mark.parametrize("ranges", ["known", "unknown", "refused"])
def test_archive_arrives_despite_cuts(
    served: HttpServer, data: Path, tmp_path: Path, ranges: str
) -> None:
    served.ranges = ranges
    served.ends = [1000, 5000] if ranges == "known" else [1000]
    folder = tmp_path / "raw"
    rows = fetched(served, folder).manifest
    assert not served.ends
    assert len(rows) == 10
    for path in {*rows["s1"], *rows["s2"], *rows["label"]} - {""}:
        assert (folder / path).read_bytes() == (data / path).read_bytes()
    assert [path.name for path in (folder / "archives").iterdir()] == ["ombria.sha256"]
    assert not (folder / "README.md").exists()
    # unpacked already: nothing is asked again
    asked = len(served.asked)
    assert fetched(served, folder).manifest.equals(rows)
    assert len(served.asked) == asked


def test_other_content_is_refused(
    served: HttpServer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = describe_files(data, find_places(data))
    wrong = replace(expected, sha256="0" * 64)
    monkeypatch.setattr(ombria, "PUBLISHED", wrong)
    with pytest.raises(UserError, match=r"has 30 images of \d+ bytes with sha256 .*, expected 30"):
        fetched(served, tmp_path / "raw")
    assert not list((tmp_path / "raw").rglob("*.*"))
    assert len(served.asked) == 2  # once more from the start


def test_damaged_archive_is_fetched_again(served: HttpServer, tmp_path: Path) -> None:
    (name, whole), folder = served.files.popitem(), tmp_path / "raw"
    served.files[name] = whole[:-500]
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetched(served, folder)
    assert not list(folder.rglob("*.*"))
    served.files[name] = whole
    assert len(fetched(served, folder).manifest) == 10


def test_archive_without_part(served: HttpServer, data: Path, tmp_path: Path) -> None:
    part = shutil.copytree(data, tmp_path / f"part/OMBRIA-{COMMIT}")
    shutil.rmtree(part / "OmbriaS1/train/AFTER")
    served.files[f"/archive/{COMMIT}.zip"] = zipped(part.parent)
    with pytest.raises(UserError, match=r"S1_after_0001\.png is missing: 4 of 4 places of train"):
        fetched(served, tmp_path / "raw")


def test_full_disk_downloads_nothing(
    served: HttpServer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = describe_files(data, find_places(data)).size - 1
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=r"OMBRIA needs .* free some space"):
        fetched(served, tmp_path / "raw")
    assert served.asked == []


def test_archive_of_user(served: HttpServer, tmp_path: Path) -> None:
    archive = tmp_path / "mine.zip"
    archive.write_bytes(next(iter(served.files.values())))
    rows = ombria.fetch(tmp_path / "raw", params(path=archive)).manifest
    assert len(rows) == 10
    assert (tmp_path / "raw" / rows["s1"][0]).is_file()
