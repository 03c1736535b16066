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


def write_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:bz2") as archive:
        for member in members:
            member.size = 3 if member.isreg() else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_matching_members_are_extracted(tmp_path: Path) -> None:
    inner = write_tar(
        tmp_path / "a.tar.bz2", member("x/a.tif"), member("x/a.py"), member("y/b.tif")
    )
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.write(inner, "pack/a.tar.bz2")
        wheel.writestr("pack/code.py", "1")
    [path] = extract(tmp_path / "a.whl", ["pack/*.tar.bz2"], tmp_path / "out")
    assert extract(path, ["x/*.tif"], tmp_path / "out") == [tmp_path / "out/x/a.tif"]
    names = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert names == ["a.tar.bz2", "a.tif"]
    with pytest.raises(UserError, match=r"has no member that matches z/\*"):
        extract(path, ["x/*.tif", "z/*"], tmp_path / "out")


@pytest.mark.parametrize(
    "bad",
    [
        member("/tmp/evil"),
        member("../evil"),
        member("a/../../evil"),
        member("link", tarfile.SYMTYPE),
        member("hard", tarfile.LNKTYPE),
        member("device", tarfile.CHRTYPE),
        member("fifo", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: bad.name,
)
def test_unsafe_tar_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    out = tmp_path / "deep" / "out"
    archive = write_tar(tmp_path / "a.tar.bz2", member("good"), bad)
    with pytest.raises(UserError, match=r"is not safe|outside the destination"):
        unpack(archive, out)
    assert not list(out.iterdir())
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["/tmp/evil", "../evil", "a/../../evil"])
def test_unsafe_zip_is_refused(tmp_path: Path, name: str) -> None:
    out = tmp_path / "deep" / "out"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good", "abc")
        archive.writestr(name, "abc")
    with pytest.raises(UserError, match=f"is not safe: {name}"):
        unpack(tmp_path / "a.zip", out)
    assert not list(out.iterdir())
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_truncated_tar_is_refused(tmp_path: Path, keep: float) -> None:
    path = write_tar(tmp_path / "a.tar.bz2", *(member(f"{i}" * 50) for i in range(50)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("whole", "abc" * 100)
        archive.writestr("damaged", "abcdef" * 100)
    path.write_bytes(path.read_bytes().replace(b"abcdef", b"abcdeg"))
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_zip_member_without_name(tmp_path: Path) -> None:
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


def test_archives_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    s1 = write_tar(tmp_path / "s1.tar.bz2", member("./spring/s1_1/a.tif"), member("README"))
    with zipfile.ZipFile(tmp_path / "s2.zip", "w") as s2:
        s2.mkdir("spring")
        s2.writestr("spring/s2_1/a.tif", "s2")
    everything = {"README": b"abc", "spring/s1_1/a.tif": b"abc", "spring/s2_1/a.tif": b"s2"}
    for archive in (s1, tmp_path / "s2.zip", s1):  # again, as after a kill between the renames
        unpack(archive, out)
    assert contents(out) == everything


def test_zip_must_fit_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(5 * 2**19))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"needs 2.5 MiB, .* has 1.0 MiB free"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_killed_run_is_repeated(tmp_path: Path) -> None:
    names = [f"spring/{number}.tif" for number in range(60)]
    archive = write_tar(tmp_path / "a.tar.bz2", *map(member, names))
    code = (
        "import sys, tarfile, time; from pathlib import Path\n"
        "from eocontrast.sources.download.archives import unpack\n"
        "extract, left = tarfile.TarFile.extract, iter(range(30))\n"
        "def halting(*given, **named):\n"
        "    time.sleep(0 if next(left, None) is not None else 600)\n"
        "    extract(*given, **named)\n"
        "tarfile.TarFile.extract = halting\n"
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", code, str(archive), str(out)]) as process:
        while not (out / ".incomplete" / "spring/29.tif").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert [path.name for path in out.iterdir()] == [".incomplete"]
    unpack(archive, out)
    assert contents(out) == dict.fromkeys(names, b"abc")
