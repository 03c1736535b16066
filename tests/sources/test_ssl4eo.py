"""Shards that the tests write, read in place and served on this machine."""

import hashlib
import json
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from publishers import stored
from servers import HttpServer
from ssl4eo_shards import PLACES, SIDE, optical, radar, write_shard, write_shards

from eocontrast.config.sources import SSL4EOParams
from eocontrast.modalities import SENTINEL2_L1C
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.source import Source
from eocontrast.rasters.values import AUTOMATIC
from eocontrast.runtime.errors import UserError
from eocontrast.sources import ssl4eo
from eocontrast.sources.catalogue import check_manifest

S2 = "val/S2L1C/ssl4eos12_val_seasonal_data_000001.zarr.zip"


def ssl4eo_params(**fields: object) -> SSL4EOParams:
    defaults = {"path": None, "url": "http://127.0.0.1", "md5s": None, "part": "val"}
    choice = {"shards": (1,), "seasons": (0, 1), "level": "L1C", "offset": "auto", "max_cloud": 1.0}
    return SSL4EOParams.model_validate({**defaults, **choice, **fields})


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), (1, 2))


@pytest.fixture
def data(shards: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(shards, tmp_path / "data")


def fetched(tmp_path: Path, **fields: object) -> Source:
    source = ssl4eo.fetch(tmp_path / "raw", ssl4eo_params(**fields))
    check_manifest(source.manifest)
    return source


def test_pixels_are_those_of_the_shards(shards: Path, tmp_path: Path) -> None:
    source = fetched(tmp_path, path=shards)
    assert len(source.manifest) == 2 * len(PLACES)
    assert set(source.manifest["split"]) == {"pretrain"}
    assert source.manifest["group"].nunique() == len(PLACES)
    wanted = optical(0).astype(float)
    for row in source.manifest.to_dict("records"):
        _, place, season = row["id"].split("_")
        values = read_raster(tmp_path / "raw" / row["s2"], source.s2).values
        expected = wanted[PLACES.index(place), int(season)]
        void = (optical(1000)[PLACES.index(place), int(season)] == 0).all(axis=0)
        np.testing.assert_array_equal(values[:, ~void], expected[:, ~void])
        assert np.isnan(values[:, void]).all()


def test_sensors_are_paired_by_date(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = fetched(tmp_path, path=shards, seasons=(0, 1, 2, 3))
    for row in source.manifest.to_dict("records"):
        season = int(row["id"][-1])
        s1 = read_raster(tmp_path / "raw" / row["s1"], source.s1).values
        assert s1[0].mean() == pytest.approx(-10 - season, abs=0.2)
        assert s1[1].mean() == pytest.approx(-17 - season, abs=0.2)
    printed = capsys.readouterr().err
    assert "9 images of Sentinel-1 stand at another place than their dates" in printed
    assert "12 of 12 images of Sentinel-2 hold the offset of 1000: taken off" in printed


def test_files_share_their_place(shards: Path, tmp_path: Path) -> None:
    source = fetched(tmp_path, path=shards)
    for row in source.manifest.to_dict("records"):
        epsg = dict(zip(PLACES, (32651, 32751, 32652), strict=True))[row["id"].split("_")[1]]
        for column in ("s1", "s2"):
            with rasterio.open(tmp_path / "raw" / row[column]) as raster:
                assert raster.crs.to_epsg() == epsg
                assert raster.bounds == (500_000, 4_700_010 - 10 * SIDE, 500_160, 4_700_010)


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_offset_is_found_by_content(tmp_path: Path, level: str) -> None:
    for offset in (0, 1000):
        data = write_shards(tmp_path / str(offset), offset=offset)
        source = fetched(tmp_path / f"{offset}_raw", path=data, level=level)
        with rasterio.open(tmp_path / f"{offset}_raw/raw" / source.manifest["s2"][0]) as raster:
            assert set(raster.offsets) == {-offset}
            assert raster.read(1).max() == optical(offset, level)[0, 0, 0].max()
        assert len(source.s2.bands) == (13 if level == "L1C" else 12)


def test_audit_notes_the_offset(shards: Path, tmp_path: Path) -> None:
    fetched(tmp_path, path=shards).write(tmp_path / "raw")
    store = stored(tmp_path / "raw")
    audit = json.loads((tmp_path / "raw/audit.json").read_text())
    [note] = [found for found in audit["notes"] if found["rule"] == "offset"]
    assert set(note["ids"]) == set(store.index["id"])
    assert store.specs["s2"].mean[SENTINEL2_L1C.bands.index("B10")] == pytest.approx(20, abs=1)


def as_users(source: Source, tmp_path: Path) -> Path:
    """Write the description of the images as if they were files of the user."""
    replace(source, files={"s1": AUTOMATIC, "s2": AUTOMATIC}).write(tmp_path / "raw")
    return tmp_path / "raw"


def test_audit_finds_undeclared_offset(shards: Path, tmp_path: Path) -> None:
    """The same images without the header that declares the offset."""
    source = fetched(tmp_path, path=shards)
    for path in source.manifest["s2"]:
        with rasterio.open(tmp_path / "raw" / path, "r+") as raster:
            raster.offsets = [0] * raster.count
    with pytest.raises(UserError, match="no band of s2 goes below 1000 in any patch"):
        stored(as_users(source, tmp_path))


def test_audit_finds_power_as_decibel(shards: Path, tmp_path: Path) -> None:
    source = fetched(tmp_path, path=shards)
    for path in source.manifest["s1"]:
        with rasterio.open(tmp_path / "raw" / path, "r+") as raster:
            raster.write(10 ** (raster.read() / 10))
    stored(as_users(source, tmp_path))
    audit = json.loads((tmp_path / "raw/audit.json").read_text())
    found = [one for one in audit["findings"] if one["rule"] == "implausible_units"]
    assert len(found) == len(source.manifest)
    assert all("looks like linear power" in one["message"] for one in found)


def test_bright_ground_asks(data: Path, tmp_path: Path) -> None:
    bright = np.random.default_rng(0).integers(4000, 8000, optical(0).shape).astype(np.int16)
    write_shard(data / S2, "S2L1C", bright)
    with pytest.raises(UserError, match=r"not show .* \(bright\); set sources\.ssl4eo\.offset"):
        fetched(tmp_path, path=data)
    source = fetched(tmp_path, path=data, offset=-1000)
    values = read_raster(tmp_path / "raw" / source.manifest["s2"][0], source.s2).values
    assert values.min() == bright[0, 0].min() - 1000


def test_hidden_images_are_left_out(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = fetched(tmp_path, path=shards, max_cloud=0.2)
    assert not source.manifest["id"].str.contains(PLACES[1]).any()
    assert "2 images are hidden by more than max_cloud" in capsys.readouterr().err
    every = np.full((len(PLACES), 4, SIDE, SIDE), 5, np.uint8)
    write_shard(tmp_path / S2, "S2L1C", optical(1000), cloud_mask=every)
    shutil.copytree(shards / "val/S1GRD", tmp_path / "val/S1GRD")
    with pytest.raises(UserError, match=r"hide more than 0\.2 of each of 6 images; raise"):
        ssl4eo.fetch(tmp_path / "other", ssl4eo_params(path=tmp_path, max_cloud=0.2))


def test_code_in_a_shard_is_refused(data: Path, tmp_path: Path) -> None:
    """Zarr's codec `pickle` would load, and so run, what an array holds."""
    with zipfile.ZipFile(data / S2) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    header = json.loads(members["crs/.zarray"])
    payload = pickle.dumps(_Harm(tmp_path / "harm"))
    members["crs/.zarray"] = json.dumps(
        header | {"dtype": "|O", "filters": [{"id": "pickle", "protocol": 5}], "compressor": None}
    ).encode()
    members["crs/0"] = payload
    with zipfile.ZipFile(data / S2, "w") as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    with pytest.raises(UserError, match="cannot be read as a shard"):
        fetched(tmp_path, path=data)
    assert not (tmp_path / "harm").exists()


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "products": ({"file_id": np.array([["x"] * 4] * 3)}, "file_id holds 'x'"),
    "shape": ({"bands": optical(0)[:, :2]}, "bands have the shape"),
    "names": ({"sample": np.array(["a", "b", "c"])}, "different places"),
    "bands": ({"band": np.array(["x"] * 13)}, "B01 is missing"),
}


@pytest.mark.parametrize(("replaced", "expected"), WRONG.values(), ids=list(WRONG))
def test_other_layouts_are_named(
    data: Path, tmp_path: Path, replaced: dict[str, Any], expected: str
) -> None:
    bands = replaced.pop("bands", optical(1000))
    write_shard(data / S2, "S2L1C", bands, **replaced)
    with pytest.raises(UserError, match=expected):
        fetched(tmp_path, path=data)


def test_damaged_shard_is_named(data: Path, tmp_path: Path) -> None:
    content = bytearray((data / S2).read_bytes())
    content[len(content) // 2] ^= 255  # in the pixels
    (data / S2).write_bytes(content)
    with pytest.raises(
        UserError, match=r"000001\.zarr\.zip cannot be read as a shard .*; fetch it"
    ):
        fetched(tmp_path, path=data, seasons=(0, 1, 2, 3))
    (data / S2).write_bytes(bytes(content[: len(content) // 3]))
    shutil.rmtree(tmp_path / "raw")
    with pytest.raises(UserError, match=r"000001\.zarr\.zip cannot be read as a shard"):
        fetched(tmp_path, path=data)


def test_missing_chunk_is_named(data: Path, tmp_path: Path) -> None:
    """Zarr would fill a chunk that is not there with zeros, which are 0 dB."""
    path = data / "val/S1GRD/ssl4eos12_val_seasonal_data_000001.zarr.zip"
    values = radar()
    values[:, 2] = 0  # zarr does not write chunks of the fill value
    write_shard(path, "S1GRD", values)
    with pytest.raises(UserError, match="1 chunks are missing"):
        fetched(tmp_path, path=data)


def test_missing_shard_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked for .*S1GRD/.*000003\.zarr\.zip, found .*000001"):
        fetched(tmp_path, path=shards, shards=(3,))
    with pytest.raises(UserError, match="shards has 35, but val has 34 shards"):
        fetched(tmp_path, path=shards, shards=(35,))


def test_full_disk_stops_at_once(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match=r"images of 1 shards needs .* free some space"):
        fetched(tmp_path, path=shards)


@pytest.fixture
def server(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    files = {f"/{p.relative_to(shards)}": p.read_bytes() for p in shards.rglob("*.zip")}
    server = HttpServer(files)
    server.etags = {path: f'"{hashlib.sha256(c).hexdigest()}"' for path, c in files.items()}
    yield server
    server.stop()


def test_shards_arrive_despite_cuts(server: HttpServer, shards: Path, tmp_path: Path) -> None:
    server.ends, server.refusals = [100, 3000, 7], [503]
    rows = fetched(tmp_path, url=server.url, shards=(1, 2)).manifest
    assert not server.ends
    assert len(rows) == 4 * len(PLACES)
    assert not list((tmp_path / "raw/archives").rglob("*.zip"))
    here = fetched(tmp_path / "in_place", path=shards, shards=(1, 2)).manifest
    for column in ("s1", "s2"):
        for mine, wanted in zip(rows[column], here[column], strict=True):
            expected = (tmp_path / "in_place/raw" / wanted).read_bytes()
            assert (tmp_path / "raw" / mine).read_bytes() == expected
    asked = len(server.asked)
    again = fetched(tmp_path, url=server.url, shards=(1, 2), seasons=(1,)).manifest
    assert len(again) == 2 * len(PLACES)
    assert len(server.asked) == asked  # already unpacked


def test_shards_are_kept_on_request(server: HttpServer, tmp_path: Path) -> None:
    params = ssl4eo_params(url=server.url)
    ssl4eo.fetch(tmp_path, params, keep_archives=True)
    assert len(list((tmp_path / "archives").rglob("*.zip"))) == 2
    asked = len(server.asked)
    ssl4eo.fetch(tmp_path, ssl4eo_params(url=server.url, seasons=(3,)), keep_archives=True)
    assert len(server.asked) == asked


def test_wrong_sum_is_refused(server: HttpServer, tmp_path: Path) -> None:
    server.etags[f"/{S2}"] = "0" * 64
    with pytest.raises(UserError, match=r"has sha256 \w{64}, expected 0{64}"):
        fetched(tmp_path, url=server.url)
    assert not list(tmp_path.rglob("*.tif"))


def test_md5s_replace_the_servers(server: HttpServer, tmp_path: Path) -> None:
    server.etags = {}
    with pytest.raises(UserError, match=r"states no SHA-256 of .*name a file of md5sum's"):
        fetched(tmp_path, url=server.url)
    sums = tmp_path / "md5sums"
    sums.write_text("0" * 32 + "  other.zarr.zip\n")
    with pytest.raises(UserError, match="no line for ssl4eos12_val_seasonal_data_000001"):
        fetched(tmp_path, url=server.url, md5s=sums)


def test_missing_file_of_the_server(server: HttpServer, tmp_path: Path) -> None:
    del server.files[f"/{S2}"]
    with pytest.raises(UserError, match=r"000001\.zarr\.zip cannot be found .*404"):
        fetched(tmp_path, url=server.url)
