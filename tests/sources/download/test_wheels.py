import hashlib
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.wheels import fetch_wheel

WHEEL = "fake_pairs-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one package that pip uses instead of the network."""
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


def test_wheel_is_downloaded_once(index: Path, tmp_path: Path) -> None:
    pin, size = sha256(index / WHEEL), (index / WHEEL).stat().st_size
    wheel = fetch_wheel("fake-pairs", "1.0", pin, tmp_path / "out", size=size)
    assert wheel.read_bytes() == (index / WHEEL).read_bytes()
    (index / WHEEL).unlink()  # what is there already needs no network
    assert fetch_wheel("fake-pairs", "1.0", pin, tmp_path / "out", size=size) == wheel
    assert [path.name for path in (tmp_path / "out").iterdir()] == [WHEEL]


def test_damaged_wheel_is_replaced(index: Path, tmp_path: Path) -> None:
    pin, size = sha256(index / WHEEL), (index / WHEEL).stat().st_size
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / WHEEL).write_bytes(b"0" * size)
    (tmp_path / "out" / ".incomplete" / "left by a killed run").mkdir(parents=True)
    wheel = fetch_wheel("fake-pairs", "1.0", pin, tmp_path / "out", size=size)
    assert sha256(wheel) == pin
    assert list((tmp_path / "out").iterdir()) == [wheel]


def test_wrong_digest_leaves_nothing(index: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"does not have sha256 {'0' * 64}"):
        fetch_wheel("fake-pairs", "1.0", "0" * 64, tmp_path / "out", size=1)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("index")
def test_unknown_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fake-pears==1.0 cannot be downloaded; check the network"):
        fetch_wheel("fake-pears", "1.0", "0" * 64, tmp_path / "out", size=1)


def test_full_disk_stops_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    with pytest.raises(UserError, match=r"needs 2.5 MiB, .* has 1.0 MiB free"):
        fetch_wheel("fake-pairs", "1.0", "0" * 64, tmp_path, size=5 * 2**19)
