"""Archives of reBEN in parts, served on this machine, cut, damaged and incomplete."""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import zstandard
from publishers import reben
from reben_files import PATCHES, archived, names, published, write_reben
from servers import HttpServer

from eocontrast.config.sources import BigEarthNetParams
from eocontrast.runtime.errors import UserError
from eocontrast.sources import bigearthnet
from eocontrast.sources.reben_files import ARCHIVES

S1, S2, MAPS = ARCHIVES


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """The data as folders, and the files of the mirror."""
    folder = write_reben(tmp_path_factory.mktemp("mirror"))
    return folder, published(folder)


@pytest.fixture
def server(
    mirror: tuple[Path, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[HttpServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    server = HttpServer({f"/V2/{name}": content for name, content in mirror[1].items()})
    server.url += "/V2"
    yield server
    server.stop()


def mirrored(server: HttpServer, folder: Path, **fields: object) -> BigEarthNetParams:
    """Return parameters that fetch from the server, with its digests."""
    digests = folder / "md5sums"
    digests.write_bytes(server.files["/V2/md5sums"])
    everything = {"path": "fetch", "url": server.url, "md5s": digests, "classes": "nineteen"}
    return reben(**(everything | fields))


def rasters(folder: Path) -> dict[str, bytes]:
    tops = [folder / top for top in ARCHIVES]
    files = (path for top in tops for path in sorted(top.rglob("*.tif")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_archives_arrive_despite_cuts(
    server: HttpServer, mirror: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    server.ends = [100, 3000, 10, 5000]
    raw = tmp_path / "raw"
    rows = bigearthnet.fetch(raw, mirrored(server, tmp_path)).manifest
    assert not server.ends
    wanted = rasters(mirror[0])
    unlabelled = names(13)[1]  # without a label nobody needs its map
    assert rasters(raw) == {
        name: content
        for name, content in wanted.items()
        if not (name.startswith(MAPS) and unlabelled in name)
    }
    assert {path.name for path in (raw / "archives").iterdir()} == {
        f"{top}.unpacked" for top in ARCHIVES
    }
    asked = len(server.asked)
    again = bigearthnet.fetch(raw, mirrored(server, tmp_path)).manifest
    assert again.equals(rows)
    assert len(server.asked) == asked


def test_other_tiles_are_added(
    server: HttpServer, mirror: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    one = bigearthnet.fetch(raw, mirrored(server, tmp_path, tiles=("29SND",)), keep_archives=True)
    assert list(one.manifest["id"]) == [names(40)[1]]
    assert all("29SND" in name or "063215" in name for name in rasters(raw))
    asked = len(server.asked)
    every = bigearthnet.fetch(raw, mirrored(server, tmp_path), keep_archives=True)
    assert len(every.manifest) == len(PATCHES)
    assert len(server.asked) == asked  # the archives were kept
    fewer = bigearthnet.fetch(raw, mirrored(server, tmp_path, countries=("Austria",)))
    assert len(fewer.manifest) == 4
    assert len(server.asked) == asked


def test_published_digests_are_the_default(server: HttpServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.parquet has md5 .*, expected 55687065e77b6d0b"):
        bigearthnet.fetch(tmp_path / "raw", mirrored(server, tmp_path, md5s=None))
    assert not rasters(tmp_path / "raw")


def test_wrong_part_is_refused(server: HttpServer, tmp_path: Path) -> None:
    part = f"/V2/{S2}.tar.gzab"
    server.files[part] = server.files[part][:-1] + b"x"
    with pytest.raises(UserError, match=r"BigEarthNet-S2\.tar\.gzab has md5 \w+, expected"):
        bigearthnet.fetch(tmp_path / "raw", mirrored(server, tmp_path))
    assert not (tmp_path / f"raw/{S2}").exists()


def test_missing_part_is_named(server: HttpServer, tmp_path: Path) -> None:
    del server.files[f"/V2/{S1}.tar.gzab"]
    with pytest.raises(UserError, match=r"BigEarthNet-S1\.tar\.gzab cannot be downloaded .*404"):
        bigearthnet.fetch(tmp_path / "raw", mirrored(server, tmp_path))
    assert (tmp_path / f"raw/archives/{S1}.tar.gzaa").exists()  # is not fetched again


def test_digest_of_every_part_is_needed(server: HttpServer, tmp_path: Path) -> None:
    params = mirrored(server, tmp_path)
    lines = (tmp_path / "md5sums").read_text().splitlines(keepends=True)
    (tmp_path / "md5sums").write_text("".join(line for line in lines if "S1.tar.gzab" not in line))
    with pytest.raises(UserError, match=r"has no line for BigEarthNet-S1\.tar\.gzab"):
        bigearthnet.fetch(tmp_path / "raw", params)


def test_full_disk_stops_before_the_download(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = ARCHIVES[S1].size * len(PATCHES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size - 1))
    with pytest.raises(UserError, match=r"5 folders of BigEarthNet-S1 needs .* free some space"):
        bigearthnet.fetch(tmp_path / "raw", mirrored(server, tmp_path))
    assert server.asked == [None]  # the metadata alone


@pytest.mark.parametrize("form", ["parts", "zst"])
def test_archives_of_the_user_are_unpacked(
    mirror: tuple[Path, dict[str, bytes]], tmp_path: Path, form: str
) -> None:
    mine, raw = tmp_path / "mine", tmp_path / "raw"
    mine.mkdir()
    for name, content in mirror[1].items():
        (mine / name).write_bytes(content)
    if form == "zst":
        for top in ARCHIVES:
            for part in mine.glob(f"{top}.tar.gz*"):
                part.unlink()
            packed = zstandard.ZstdCompressor().compress(archived(mirror[0], top, ""))
            (mine / f"{top}.tar.zst").write_bytes(packed)
    digests = None if form == "zst" else mine / "md5sums"
    params = reben(path=mine, md5s=digests, classes="nineteen", tiles=("33UUP",))
    rows = bigearthnet.fetch(raw, params).manifest
    assert len(rows) == 4
    assert (raw / rows["s2"][0].replace("{band}", "B8A")).exists()
    before = rasters(raw)
    bigearthnet.fetch(raw, params)
    assert rasters(raw) == before
    shutil.rmtree(raw / S2)
    with pytest.raises(UserError, match=rf"4 of 4 patches .*; remove .*{S2}\.unpacked to unpack"):
        bigearthnet.fetch(raw, params)
    (raw / f"archives/{S2}.unpacked").unlink()
    bigearthnet.fetch(raw, params)
    assert rasters(raw) == before


def test_missing_part_of_the_user_is_named(
    mirror: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    for name, content in mirror[1].items():
        if name != f"{S1}.tar.gzab":
            (tmp_path / name).write_bytes(content)
    params = reben(path=tmp_path, md5s=tmp_path / "md5sums")
    with pytest.raises(UserError, match=r"has 1 of the 2 parts of BigEarthNet-S1; .*gzab is miss"):
        bigearthnet.fetch(tmp_path / "raw", params)
    (tmp_path / f"{S1}.tar.gzab").write_bytes(mirror[1][f"{S1}.tar.gzab"][:-9])
    with pytest.raises(UserError, match=r"gzab has md5 \w+, expected \w+; it is damaged"):
        bigearthnet.fetch(tmp_path / "raw", params)


@pytest.mark.parametrize("end", [40, -40])
def test_truncated_archive_leaves_nothing(
    mirror: tuple[Path, dict[str, bytes]], tmp_path: Path, end: int
) -> None:
    (tmp_path / "metadata.parquet").write_bytes(mirror[1]["metadata.parquet"])
    shutil.copytree(mirror[0] / S2, tmp_path / S2)
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(archived(mirror[0], S1, ""))
    (tmp_path / f"{S1}.tar.zst").write_bytes(packed[:end])
    with pytest.raises(UserError, match=rf"{S1}\.tar\.zst cannot be unpacked|wanted folders"):
        bigearthnet.fetch(tmp_path / "raw", reben(path=tmp_path))
    assert not rasters(tmp_path / "raw")


def hostile(name: str, kind: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO())
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"BigEarthNet-S1/scene/{names(10)[0]}/x.tif", tarfile.SYMTYPE),
        (f"../scene/{names(10)[0]}/x.tif", tarfile.REGTYPE),
        (f"BigEarthNet-S1/../{names(10)[0]}/x.tif", tarfile.REGTYPE),
        (f"/etc/scene/{names(10)[0]}/x.tif", tarfile.REGTYPE),
    ],
)
def test_unsafe_members_are_refused(
    mirror: tuple[Path, dict[str, bytes]], tmp_path: Path, name: str, kind: bytes
) -> None:
    (tmp_path / "metadata.parquet").write_bytes(mirror[1]["metadata.parquet"])
    (tmp_path / f"{S1}.tar.zst").write_bytes(hostile(name, kind))
    with pytest.raises(UserError, match="is not safe"):
        bigearthnet.fetch(tmp_path / "raw", reben(path=tmp_path))
    assert not list((tmp_path / "raw").rglob("*.tif"))
