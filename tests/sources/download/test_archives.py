import io
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.archives import extract, unpack


def tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:bz2") as archive:
        for member in members:
            member.size = 3 if member.isreg() else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def test_only_what_matches_is_unpacked(tmp_path: Path) -> None:
    inner = tar(tmp_path / "a.tar.bz2", member("x/a.tif"), member("x/a.py"), member("y/b.tif"))
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.write(inner, "pack/a.tar.bz2")
        wheel.writestr("pack/code.py", "1")
    [path] = extract(tmp_path / "a.whl", ["pack/*.tar.bz2"], tmp_path / "out")
    assert extract(path, ["x/*.tif"], tmp_path / "out") == [tmp_path / "out/x/a.tif"]
    files = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert files == ["a.tar.bz2", "a.tif"]
    with pytest.raises(UserError, match=r"holds nothing named z/\*"):
        extract(path, ["x/*.tif", "z/*"], tmp_path / "out")


@pytest.mark.parametrize(
    "bad",
    [
        member("/tmp/evil"),
        member("../evil"),
        member("a/../../evil"),
        member("..\\evil"),
        member("C:\\evil"),
        member("link", tarfile.SYMTYPE),
        member("hard", tarfile.LNKTYPE),
        member("device", tarfile.CHRTYPE),
        member("fifo", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: bad.name,
)
def test_unsafe_members_are_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with pytest.raises(UserError, match="is not safe"):
        extract(tar(tmp_path / "a.tar.bz2", member("good"), bad), ["*"], out)
    if bad.isreg() or bad.issym():
        entry = zipfile.ZipInfo(bad.name)
        entry.external_attr = (0o120777 if bad.issym() else 0o100644) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr(entry, "abc")
        with pytest.raises(UserError, match="is not safe"):
            extract(tmp_path / "a.zip", ["*"], out)
    assert not list(out.iterdir())
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_half_an_archive_is_refused(tmp_path: Path, keep: float) -> None:
    path = tar(tmp_path / "a.tar.bz2", *(member(f"{i}" * 50) for i in range(50)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match="cannot be unpacked"):
        extract(path, ["*"], tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_archives_of_one_season_share_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    s1 = tar(tmp_path / "s1.tar.bz2", member("./spring/s1_1/a.tif"), member("README"))
    assert unpack(s1, out) == [out / "README", out / "spring/s1_1/a.tif"]
    with zipfile.ZipFile(tmp_path / "s2.zip", "w") as s2:
        s2.mkdir("spring")
        s2.writestr("spring/s2_1/a.tif", "s2")
    assert unpack(tmp_path / "s2.zip", out) == [out / "spring/s2_1/a.tif"]
    everything = {"README": b"abc", "spring/s1_1/a.tif": b"abc", "spring/s2_1/a.tif": b"s2"}
    assert files(out) == everything
    unpack(s1, out)  # as after a run that was killed among the renames
    assert files(out) == everything
    assert sorted(path.name for path in out.iterdir()) == ["README", "spring"]


@pytest.mark.parametrize("yours", ["b/two", "b", "b/two/mine"])
def test_another_file_of_that_name_is_kept(tmp_path: Path, yours: str) -> None:
    mine = tmp_path / "out" / yours
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"own")
    archive = tar(tmp_path / "a.tar.bz2", member("a/one"), member("b/two"))
    with pytest.raises(UserError, match=r"out/b.* is there already, and .*a.tar.bz2 holds another"):
        unpack(archive, tmp_path / "out")
    assert files(tmp_path / "out") == {yours: b"own"}


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil"])
def test_nothing_of_an_unsafe_archive_is_unpacked(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is not safe"):
        unpack(tar(tmp_path / "a.tar.bz2", member("good"), member(name)), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_nothing_of_half_an_archive_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("whole", "abc" * 100)
        archive.writestr("damaged", "abcdef" * 100)
    path.write_bytes(path.read_bytes().replace(b"abcdef", b"abcdeg"))
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_content_must_fit_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "a.tar.bz2", "w:bz2") as archive:
        info = member("zeros")
        info.size = 5 * 2**19
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"needs 2.5 MiB, .* has 1.0 MiB free"):
        unpack(tmp_path / "a.tar.bz2", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_killed_run_leaves_no_final_name(tmp_path: Path) -> None:
    names = [f"spring/{number}.tif" for number in range(600)]
    archive = tar(tmp_path / "a.tar.bz2", *map(member, names))
    code = "import sys; from pathlib import Path; from eocontrast.archives import unpack; "
    code += "unpack(Path(sys.argv[1]), Path(sys.argv[2]))"
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", code, str(archive), str(out)]) as process:
        while not (out / ".incomplete" / "spring").exists():
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert [path.name for path in out.iterdir()] == [".incomplete"]
    assert unpack(archive, out) == [out / name for name in sorted(names)]
    assert files(out) == dict.fromkeys(names, b"abc")


def test_a_member_without_a_name_is_refused(tmp_path: Path) -> None:
    """Found by `tests/fuzz/parsers.py`."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "")
    content = bytearray(path.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 28 : central + 32] = b"\x00\x00\x01\x00"  # its name becomes its extra field
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip cannot be unpacked"):
        unpack(path, tmp_path / "out")
