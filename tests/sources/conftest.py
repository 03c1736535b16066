"""Simulated scenes in the folders of SEN12MS and DFC2020, and as archives."""

import hashlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from publishers import SEASONS
from servers import FtpServer

from eocontrast.config.sources import SimulatedParams
from eocontrast.sources import dfc2020, sen12ms, simulated


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SEN12MS: two scenes of spring, one of each other season; DFC2020: 4 and 12 patches."""
    folder = tmp_path_factory.mktemp("scenes")
    few = {"pretrain_scenes": 5, "train_scenes": 1, "test_scenes": 3}
    size = {
        "seed": 3,
        "patch_size": 16,
        "scene_size": 2,
        "labelled_scene_size": 2,
        "test_patches": 0,
    }
    simulated.fetch(folder, SimulatedParams.model_validate(few | size), workers=1)
    return folder


@pytest.fixture(scope="session")
def published(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives of two seasons, the DFC2020 mirror's, and their digests."""
    folder = tmp_path_factory.mktemp("published")
    for archive in sen12ms.archives(SEASONS):
        with tarfile.open(folder / archive.name, "w:gz") as packed:
            for path in scenes.glob(archive.holds):
                packed.add(path, path.relative_to(scenes))
    with zipfile.ZipFile(folder / dfc2020.MIRROR.name, "w") as packed_zip:
        for kind in dfc2020.KINDS:
            for path in scenes.glob(f"ROIs0000_test/{kind}_0/*"):
                packed_zip.write(path, f"dfc2020_s1s2/{kind}/{path.name}")
    lines = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    ]
    (folder / "md5sums").write_text("".join(lines))
    return folder


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FtpServer]:
    """An FTP server of these archives."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda _: None)
    server = FtpServer(published)
    yield server
    server.stop()
