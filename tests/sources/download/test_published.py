"""Archives with the published names and layouts, simulated and served on this machine."""

import hashlib
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import zstandard
from documents import fenced
from layouts import by_halves, by_regions, by_validation_folders, flat, zipped
from publishers import SEASONS, mirrored, seasons, stored
from servers import FtpServer, HttpServer

from eocontrast.config.sources import Split
from eocontrast.runtime.errors import UserError
from eocontrast.sources import dfc2020, sen12ms
from eocontrast.sources.download.published import Archive, fetch_archives, locate_data, read_md5s


def copy_halves(scenes: Path, data: Path) -> Path:
    for half in dfc2020.HALVES:
        shutil.copytree(scenes / f"ROIs0000_{half}", data / f"ROIs0000_{half}")
    return data


def test_seasons_arrive_despite_cuts(
    server: FtpServer, published: Path, scenes: Path, tmp_path: Path
) -> None:
    size = (published / "ROIs1158_spring_s1.tar.gz").stat().st_size
    server.cuts = [1, size // 2, 100, 7, 50_000]
    rows = sen12ms.fetch(tmp_path, seasons(server.url, published)).manifest
    assert not server.cuts
    assert len(rows) == 12
    for path in (*rows["s1"], *rows["s2"]):
        assert (tmp_path / path).read_bytes() == (scenes / path).read_bytes()
    names = {f"{archive.name}.md5" for archive in sen12ms.archives(SEASONS)}
    assert {path.name for path in (tmp_path / "archives").iterdir()} == names
    logins = server.logins
    again = sen12ms.fetch(tmp_path, seasons(server.url, published)).manifest
    pd.testing.assert_frame_equal(again, rows)
    assert server.logins == logins


def test_removed_note_fetches_again(server: FtpServer, published: Path, tmp_path: Path) -> None:
    params = seasons(server.url, published)
    rows = sen12ms.fetch(tmp_path, params).manifest
    (tmp_path / rows["s1"][1]).unlink()
    with pytest.raises(UserError, match=r"is missing.*; remove .*archives/<archive>\.md5"):
        sen12ms.fetch(tmp_path, params)
    (tmp_path / "archives/ROIs1158_spring_s1.tar.gz.md5").unlink()
    pd.testing.assert_frame_equal(sen12ms.fetch(tmp_path, params).manifest, rows)
    assert (tmp_path / rows["s1"][1]).is_file()


def test_archives_are_kept_on_request(server: FtpServer, published: Path, tmp_path: Path) -> None:
    sen12ms.fetch(tmp_path, seasons(server.url, published), keep_archives=True)
    for archive in sen12ms.archives(SEASONS):
        kept = tmp_path / "archives" / archive.name
        assert kept.read_bytes() == (published / archive.name).read_bytes()


def test_published_digests_are_the_default(
    server: FtpServer, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**40))
    wanted = sen12ms.archives(SEASONS)[0].md5
    with pytest.raises(UserError, match=rf"spring_s1.tar.gz has md5 \w+, expected {wanted}"):
        sen12ms.fetch(tmp_path, seasons(server.url, published, md5s=None))
    assert not list(tmp_path.rglob("*.tif"))


def test_disk_must_hold_the_content(
    server: FtpServer, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = {"spring": 40_883, "summer": 45_753}
    free = sum(patches.values()) * 256 * 256 * (2 * 4 + 13 * 2)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free - 1))
    message = r"the content of 4 archives needs 179\.8 GiB, .* has 179\.8 GiB free"
    with pytest.raises(UserError, match=message):
        sen12ms.fetch(tmp_path, seasons(server.url, published, md5s=None))
    assert not server.logins
    free = 40_883 * 256 * 256 * 2 * 4  # the content of the first archive, without the archive
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=r"spring_s1.tar.gz needs .* free"):
        fetch_archives(sen12ms.archives(["spring"])[:1], server.url, None, tmp_path, keep=False)
    assert not list(tmp_path.rglob("*.partial"))


def test_repacked_content_reserves_archive_size(
    server: FtpServer, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (published / "ROIs1158_spring_s1.tar.gz").stat().st_size
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2 * size - 1))
    with pytest.raises(UserError, match=r"spring_s1\.tar\.gz needs 0\.\d MiB, .* free"):
        sen12ms.fetch(tmp_path, seasons(server.url, published))
    assert not list(tmp_path.rglob("*.partial"))


def test_user_archive_is_unpacked_once(scenes: Path, tmp_path: Path) -> None:
    mine, raw = tmp_path / "my own.tar", tmp_path / "raw"
    with tarfile.open(mine, "w") as packed:
        for half in dfc2020.HALVES:
            packed.add(scenes / f"ROIs0000_{half}", f"ROIs0000_{half}")
    rows = dfc2020.fetch(raw, mirrored(path=mine)).manifest
    assert rows["split"].value_counts().to_dict() == {"train": 12, "test": 4}
    assert mine.exists()
    written = (raw / rows["s1"][0]).stat().st_ctime_ns
    pd.testing.assert_frame_equal(dfc2020.fetch(raw, mirrored(path=mine)).manifest, rows)
    assert (raw / rows["s1"][0]).stat().st_ctime_ns == written
    for removed in (rows["s1"][0], "my own.tar/ROIs0000_test", "my own.tar/ROIs0000_*"):
        for path in raw.glob(removed):
            path.unlink() if path.is_file() else shutil.rmtree(path)
        with pytest.raises(UserError, match=r"remove .*raw/my own\.tar/archives/<archive>\.md5 to"):
            dfc2020.fetch(raw, mirrored(path=mine, find_overlaps=False))
        (raw / "my own.tar/archives/my own.tar.md5").unlink()
        pd.testing.assert_frame_equal(dfc2020.fetch(raw, mirrored(path=mine)).manifest, rows)


def pack_zstd(folder: Path, name: str) -> None:
    with (
        zstandard.open(folder / f"{name}.tar.zst", "wb") as stream,
        tarfile.open(fileobj=stream, mode="w|") as packed,
    ):
        packed.add(folder / name, name)


def test_archives_in_user_folder(tmp_path: Path) -> None:
    mine, raw, wanted = tmp_path / "mine", tmp_path / "raw", []
    for name in ("S1", "S2"):
        (mine / name).mkdir(parents=True)
        (mine / name / "a.tif").write_text(name)
        pack_zstd(mine, name)
        wanted.append(Archive(f"{name}.tar.zst", "", 0, name))
    assert locate_data(mine, wanted, raw) == mine
    for name in ("S1", "S2"):
        shutil.rmtree(mine / name)
    assert locate_data(mine, wanted, raw) == raw
    assert [(raw / name / "a.tif").read_text() for name in ("S1", "S2")] == ["S1", "S2"]
    (mine / "S2.tar.zst").unlink()
    with pytest.raises(UserError, match=r"mine has 1 of 2 archives; S2\.tar\.zst are missing"):
        locate_data(mine, wanted, raw)
    (mine / "S1.tar.zst").unlink()
    assert locate_data(mine, wanted, raw) == mine


def test_damaged_user_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x" * 2000)
    with pytest.raises(UserError, match=r"a.tar has md5 \w{32}, expected 0{32}; it is damaged"):
        locate_data(tmp_path, [Archive("a.tar", "0" * 32, 0, "a")], tmp_path / "raw")
    with pytest.raises(UserError, match=r"a.tar cannot be unpacked"):
        locate_data(tmp_path / "a.tar", [], tmp_path / "raw")


def test_user_digests_check_user_archives(published: Path, tmp_path: Path) -> None:
    url, raw = "ftp://127.0.0.1", tmp_path / "raw"
    params = seasons(url, published, path=published, find_overlaps=False)
    assert len(sen12ms.fetch(raw, params).manifest) == 12
    sums = tmp_path / "sums"
    sums.write_text(f"{'0' * 32}  dfc2020.zip\n")
    mine = mirrored(path=published / "dfc2020.zip", md5s=sums)
    with pytest.raises(UserError, match=rf"dfc2020\.zip has md5 \w+, expected {'0' * 32}; it is"):
        dfc2020.fetch(raw, mine)


def test_lists_inside_the_mirror(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data, raw = copy_halves(scenes, tmp_path / "data"), tmp_path / "raw"
    flat(data)
    files: dict[Split, Path] = {}
    parts: tuple[tuple[Split, range], ...] = (("train", range(8)), ("test", range(10, 12)))
    for part, numbers in parts:
        names = [f"ROIs0000_test_dfc_0_p{number}.tif\n" for number in numbers]
        (data / f"dfc2020_s1s2/dfc-{part}-new.csv").write_text("".join(names))
        files[part] = raw / f"dfc2020_s1s2/dfc-{part}-new.csv"
    archive, sums = zipped(data), tmp_path / "sums"
    sums.write_text(f"{hashlib.md5(archive).hexdigest()}  {dfc2020.MIRROR.name}\n")
    server = HttpServer({f"/{dfc2020.MIRROR.name}": archive})
    rows = dfc2020.fetch(raw, mirrored(url=server.url, md5s=sums, splits=files)).manifest
    server.stop()
    assert rows["split"].value_counts().to_dict() == {"train": 8, "pretrain": 2, "test": 2}


def pack_within(data: Path, *around: str) -> Path:
    """Pack the data set within folders, with the files that macOS adds."""
    path, top = data.with_name("DFC_Public_Dataset.zip"), Path(*around)
    with zipfile.ZipFile(path, "w") as packed:
        for raster in sorted(data.rglob("*.tif")):
            packed.write(raster, top / raster.relative_to(data))
            packed.writestr(
                str(Path("__MACOSX", top, raster.relative_to(data)).with_name(f"._{raster.name}")),
                "x",
            )
    return path


@pytest.mark.parametrize("around", [(), ("DFC_Public_Dataset",), ("DFC", "DFC_Public_Dataset")])
def test_wrapping_folders_are_searched(
    scenes: Path, tmp_path: Path, around: tuple[str, ...]
) -> None:
    data, raw = copy_halves(scenes, tmp_path / "data"), tmp_path / "raw"
    by_regions(data)
    mine = pack_within(data, *around)
    rows = dfc2020.fetch(raw, mirrored(path=mine)).manifest
    first = "ROIs0000_spring/s1_KippaRing/ROIs0000_spring_s1_KippaRing_p0.tif"
    assert rows["s1"][0] == "/".join((mine.name, *around, first))
    assert all((raw / path).is_file() for path in rows["label"])
    raw.joinpath(mine.name, *around, first).unlink()
    with pytest.raises(UserError, match=r"KippaRing_p0\.tif is missing.* remove .*<archive>\.md5"):
        dfc2020.fetch(raw, mirrored(path=mine))
    shutil.unpack_archive(mine, tmp_path / "mine")
    in_the_folder = dfc2020.fetch(raw, mirrored(path=tmp_path / "mine")).manifest
    assert in_the_folder["s1"][0] == str(tmp_path.joinpath("mine", *around, first))


@pytest.mark.skipif(shutil.which("unzip") is None, reason="the page's commands need unzip")
def test_documented_commands_build_a_layout(scenes: Path, tmp_path: Path) -> None:
    for half, rest in (("validation", "validation"), ("test", "0")):
        for kind in dfc2020.KINDS:
            with zipfile.ZipFile(tmp_path / f"{kind}_{rest}.zip", "w") as packed:
                for raster in scenes.glob(f"ROIs0000_{half}/{kind}_0/*.tif"):
                    packed.write(raster, raster.name if kind == "s1" else f"{kind}/{raster.name}")
                    packed.writestr(f"__MACOSX/{kind}/._{raster.name}", "x")
    (commands,) = [block for block in fenced("docs/data.md", "bash") if "unzip" in block]
    subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True)
    rows = dfc2020.fetch(tmp_path / "raw", mirrored(path=tmp_path)).manifest
    assert rows["split"].value_counts().to_dict() == {"train": 12, "test": 4}


def test_user_archive_beside_mirror_data(
    server: FtpServer, published: Path, scenes: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    server.cuts = [1000]
    rows = dfc2020.fetch(raw, mirrored(url=server.url, md5s=published / "md5sums")).manifest
    assert rows["s1"][0] == "dfc2020_s1s2/s1/ROIs0000_test_s1_0_p0.tif"
    assert len(rows) == 12
    data = shutil.copytree(scenes / "ROIs0000_validation", tmp_path / "data/ROIs0000_validation")
    mine = pack_within(data.parent, "DFC_Public_Dataset")
    ids = dfc2020.fetch(raw, mirrored(path=mine)).manifest["id"]
    assert list(ids) == [f"ROIs0000_validation_0_p{number}" for number in range(4)]


def test_two_copies_are_ambiguous(scenes: Path, tmp_path: Path) -> None:
    for copy in ("first", "second"):
        shutil.copytree(scenes / "ROIs0000_test", tmp_path / copy / "ROIs0000_test")
    with pytest.raises(UserError, match=r"found in .*: first, second; sources\.dfc2020\.path"):
        dfc2020.fetch(tmp_path, mirrored(path=tmp_path))


@pytest.mark.parametrize("text", ["0" * 31 + "  a.tar\n", "a.tar " + "0" * 32, "\n0  a"])
def test_digest_file_format(tmp_path: Path, text: str) -> None:
    (tmp_path / "sums").write_text(f"{'A' * 32} *b.tar\n{text}")
    with pytest.raises(UserError, match=r"sums line \d is .*expected 32 hex digits"):
        read_md5s(tmp_path / "sums")


def test_missing_digest_is_named(server: FtpServer, published: Path, tmp_path: Path) -> None:
    sums = tmp_path / "sums"
    sums.write_text(f"{'a' * 32}  other.zip\n")
    with pytest.raises(UserError, match=r"sums has no line for dfc2020.zip"):
        dfc2020.fetch(tmp_path / "raw", mirrored(url=server.url, md5s=sums))


@pytest.mark.parametrize(
    ("layout", "counts"),
    [
        (by_halves, {"train": 12, "test": 4}),
        (by_validation_folders, {"train": 12, "test": 4}),
        (by_regions, {"train": 12, "test": 4}),
        (flat, {"train": 8, "test": 4}),
    ],
)
def test_layout_becomes_a_store(
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: Callable[[Path], None],
    counts: dict[str, int],
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data = copy_halves(scenes, tmp_path / "packed")
    layout(data)
    archive = zipped(data)
    server = HttpServer({f"/{dfc2020.MIRROR.name}": archive})
    server.ends = [1, len(archive) // 3, len(archive) - 1]
    sums = tmp_path / "sums"
    sums.write_text(f"{hashlib.md5(archive).hexdigest()}  {dfc2020.MIRROR.name}\n")
    monkeypatch.setattr("time.sleep", lambda _: None)
    source = dfc2020.fetch(tmp_path / "raw", mirrored(url=server.url, md5s=sums))
    server.stop()
    assert not server.ends
    replace(source, rasters=tmp_path / "raw").write(tmp_path)
    store = stored(tmp_path)
    assert {split: len(store.rows(split)) for split in ("train", "test")} == counts
    assert store.has_masks
