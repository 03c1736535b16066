import hashlib
import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from eocontrast.download import extract, fetch_wheel
from eocontrast.errors import UserError

WHEEL = "fake_pairs-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, instead of the network, with one package in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        info = "fake_pairs-1.0.dist-info"
        # a bound on Python that no Python meets: only the data matter
        text = "Metadata-Version: 2.1\nName: fake-pairs\nVersion: 1.0\nRequires-Python: <3\n"
        wheel.writestr(f"{info}/METADATA", text)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        wheel.writestr("fake_pairs/data.bin", b"pairs")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_is_fetched_once(index: Path, tmp_path: Path) -> None:
    pin, size = sha256(index / WHEEL), (index / WHEEL).stat().st_size
    wheel = fetch_wheel("fake-pairs", "1.0", pin, tmp_path / "out", size=size)
    assert wheel.read_bytes() == (index / WHEEL).read_bytes()
    (index / WHEEL).unlink()  # what is there already needs no network
    assert fetch_wheel("fake-pairs", "1.0", pin, tmp_path / "out", size=size) == wheel
    assert [path.name for path in (tmp_path / "out").iterdir()] == [WHEEL]


def test_a_damaged_wheel_is_fetched_again(index: Path, tmp_path: Path) -> None:
    pin, size = sha256(index / WHEEL), (index / WHEEL).stat().st_size
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / WHEEL).write_bytes(b"0" * size)
    (tmp_path / "out" / ".incomplete" / "of a killed run").mkdir(parents=True)
    wheel = fetch_wheel("fake-pairs", "1.0", pin, tmp_path / "out", size=size)
    assert sha256(wheel) == pin
    assert list((tmp_path / "out").iterdir()) == [wheel]


def test_another_hash_leaves_nothing_behind(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"another hash than sha256 {'0' * 64}"):
        fetch_wheel("fake-pairs", "1.0", "0" * 64, tmp_path / "out", size=1)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("index")
def test_an_unknown_package_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fake-pears==1.0 was not found: is there a network"):
        fetch_wheel("fake-pears", "1.0", "0" * 64, tmp_path / "out", size=1)


def test_a_full_disk_is_seen_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"needs 2.5 MiB, .* has 1.0 MiB free"):
        fetch_wheel("fake-pairs", "1.0", "0" * 64, tmp_path, size=5 * 2**19)


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
