"""SEN12MS and DFC2020 through every stage, from servers that cut connections.

Stages run in this process with the arguments of dvc.yaml, since imports take longer than their
work. Pretraining on SEN12MS is shared. `test_published.py` reads the other layouts of DFC2020.
"""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from clones import ROOT, mlflow_runs, shrink_further
from layouts import by_halves, flat, simulate_few, zipped
from ruamel.yaml import YAML
from servers import FtpServer, HttpServer
from shipped import PARAMS

from eocontrast.config.sources import Season
from eocontrast.patches.store import PatchStore
from eocontrast.sources import dfc2020, sen12ms

pytestmark = [
    pytest.mark.slow,
]

SEASONS: tuple[Season, ...] = ("spring", "summer")
PRETRAINED, GRID, SINGLE = "models/pretrained", "models/label_curve", "models/finetuned"
STORE, RAW, LISTED = "data/patches/dfc2020", "data/raw/dfc2020", "data/manifests/dfc2020"


def call(stage: str, *arguments: str) -> None:
    """Run a stage in the working directory."""
    script = str(ROOT / f"stages/{stage}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")


def store(source: str) -> None:
    """Download a source and build its patch store."""
    call("download", source, f"data/raw/{source}", f"data/manifests/{source}")
    folder, audit = f"data/patches/{source}", f"metrics/audit/{source}.json"
    call("normalise", f"data/manifests/{source}", folder, audit)


def weights(init: str) -> str:
    return f"{PRETRAINED}/{init}.safetensors"


def learn(inits: Iterable[str]) -> None:
    """Run the stages after pretraining."""
    call("finetune", "single", STORE, PRETRAINED, SINGLE)
    call("evaluate", "single", STORE, SINGLE, "metrics")
    for init in inits:
        call("finetune", init, STORE, PRETRAINED, f"{GRID}/{init}")
    call("evaluate", "grid", STORE, GRID, "metrics")
    call("label_curve", "metrics", PRETRAINED)


def settle(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Run stages in `folder`, with servers of this machine and short pauses."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    patch.setenv("no_proxy", "127.0.0.1")
    patch.setattr("eocontrast.sources.download.transfer._LONGEST_PAUSE", 0.01)
    patch.chdir(folder)


@dataclass
class Project:
    """A working directory after pretraining on SEN12MS."""

    folder: Path
    scenes: Path
    params: dict[str, Any]

    def set(self, source: str, **params: object) -> None:
        """Change parameters of a source."""
        self.params["sources"][source] |= params
        YAML().dump(self.params, self.folder / "params.yaml")

    def digests(self, **archives: bytes) -> str:
        """Write the digests of archives as md5sum does."""
        lines = [
            f"{hashlib.md5(packed).hexdigest()}  {name}\n" for name, packed in archives.items()
        ]
        (self.folder / "md5sums").write_text("".join(lines))
        return "md5sums"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Download two seasons of SEN12MS over FTP, and pretrain on them."""
    folder, scenes, served = map(tmp_path_factory.mktemp, ("project", "scenes", "served"))
    simulate_few(scenes)
    params = YAML().load(PARAMS)
    shrink_further(params)
    params["label_curve"] |= {"fractions": [1.0], "seeds": [0], "more_seeds": []}
    params["data"] |= {"pretrain": "sen12ms", "finetune": "dfc2020"}
    made = Project(folder, scenes, params)
    archives = packed_seasons(scenes, served)
    server = FtpServer(served)
    made.set("sen12ms", url=server.url, md5s=made.digests(**archives), seasons=list(SEASONS))
    server.cuts = [1, len(archives["ROIs1158_spring_s1.tar.gz"]) // 2, 0, 7, 50_000]
    with pytest.MonkeyPatch.context() as patch:
        settle(patch, folder)
        store("sen12ms")
        for init in params["pretrain"]["runs"]:
            call("pretrain", init, "data/patches/sen12ms", weights(init))
    server.stop()
    assert not server.cuts
    return made


def packed_seasons(scenes: Path, folder: Path) -> dict[str, bytes]:
    """Pack two seasons into archives, and return their bytes by name."""
    for archive in sen12ms.archives(SEASONS):
        with tarfile.open(folder / archive.name, "w:gz") as packed:
            for path in scenes.glob(archive.holds):
                packed.add(path, path.relative_to(scenes))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def packed_halves(scenes: Path, layout: Callable[[Path], None], data: Path) -> bytes:
    """Pack DFC2020 in this layout."""
    for half in dfc2020.HALVES:
        shutil.copytree(scenes / f"ROIs0000_{half}", data / f"ROIs0000_{half}")
    layout(data)
    return zipped(data)


@pytest.mark.parametrize(
    ("layout", "protocol", "train", "counts"),
    [
        (by_halves, "http", "test", {"train": 16, "test": 24}),
        (flat, "ftp", "test", {"train": 11, "test": 5}),
    ],
)
def test_layout_runs_through_every_stage(
    project: Project,
    layout: Callable[[Path], None],
    protocol: str,
    train: str,
    counts: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle(monkeypatch, project.folder)
    for left in (RAW, LISTED, STORE, SINGLE, GRID):
        shutil.rmtree(left, ignore_errors=True)
    (tmp_path / "served").mkdir()
    archive, name = packed_halves(project.scenes, layout, tmp_path / "data"), dfc2020.MIRROR.name
    (tmp_path / "served" / name).write_bytes(archive)
    third = len(archive) // 3
    server: HttpServer | FtpServer
    if protocol == "http":  # offsets of the cuts; the third connection brings nothing
        server = HttpServer({f"/{name}": archive})
        cuts = server.ends = [1, third, third, len(archive) - 1]
    else:  # bytes before each cut
        server = FtpServer(tmp_path / "served")
        cuts = server.cuts = [1, third, 0, len(archive) - third - 2]
    sums = project.digests(**{name: archive})
    project.set("dfc2020", url=server.url, md5s=sums, train=train)
    store("dfc2020")
    server.stop()
    assert not cuts, "a connection was not cut"
    patches = PatchStore(Path(STORE))
    assert {split: len(patches.rows(split)) for split in ("train", "test")} == counts
    learn(project.params["label_curve"]["arms"])
    check_results(counts["train"])


def check_results(labels: int) -> None:
    """Check that every arm is on the curve with all labels, and that figures exist."""
    table = pd.read_csv("metrics/label_curve.csv")
    scores = table[table["metric"].isin(["AA", "mIoU"])]
    assert set(scores["arm"]) == {"s2", "dual_simclr", "unet"}
    assert scores["value"].between(0, 1).all()
    assert set(table["n_labels"]) == {labels}
    summary = json.loads(Path("metrics/summary.json").read_text())
    assert list(summary) == ["single_label", "segmentation"]
    assert json.loads(Path("metrics/audit/dfc2020.json").read_text())["quarantined"] == 0
    assert Path("metrics/qualitative.png").read_bytes().startswith(b"\x89PNG")
    assert "dfc2020" in Path("metrics/report.html").read_text()


def test_mlflow_gets_no_password(project: Project) -> None:
    (download,) = [
        run for run in mlflow_runs(project.folder) if run.info.run_name == "download@sen12ms"
    ]
    assert download.data.params["url"].startswith("ftp://127.0.0.1:")
    assert "secret" not in "".join(download.data.params.values())


def test_missing_folder_stops_downloads(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settle(monkeypatch, project.folder)
    project.set("dfc2020", path="nowhere")
    with pytest.raises(SystemExit):
        call("download", "sen12ms", "raw/sen12ms", "listed")
    project.set("dfc2020", path=None)
    message = f"sources.dfc2020.path in params.yaml names {project.folder}/nowhere, which does not"
    assert message in capsys.readouterr().err
    assert not Path("raw").exists()
