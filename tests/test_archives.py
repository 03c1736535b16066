import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from eocontrast.archives import extract
from eocontrast.errors import UserError


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
