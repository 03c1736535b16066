"""Damaged objects in DVC's cache, and the commands of the page that find and mend them.

DVC trusts objects that are read-only, as it makes them: `dvc checkout` passes a damaged one on, and
`dvc status` finds nothing. Of the readers, that of weights notices.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from clones import run, stages_run
from documents import command

pytestmark = pytest.mark.slow

WRITE = "mkdir -p models && cp {made}/a.safetensors models && cp -r {made}/store patches"
READ = """
from pathlib import Path
import numpy as np
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import stage
from eocontrast.models.weights import Pretrained
with stage("read"):
    Pretrained.load(Path("models/a.safetensors"))
    store = PatchStore("patches")
    store.batch(np.arange(len(store.index)))
open("seen", "w").write("all")
"""
GRAPH = """
stages:
  write:
    cmd: {write}
    outs: [models/a.safetensors, patches]
  read:
    cmd: python read.py
    deps: [models/a.safetensors, patches]
    outs: [seen]
"""
KINDS = ("models/a.safetensors", "patches/stats.json", "patches/s2/00000.npy")


@pytest.fixture
def project(tmp_path: Path, tiny_folder: Path, tiny_inits: dict[str, Path]) -> Path:
    """Two stages of its own, which write and read weights and a store; both have run."""
    made, project = tmp_path / "made", tmp_path / "project"
    shutil.copytree(tiny_folder, made / "store")
    shutil.copy(tiny_inits["dual_simclr"], made / "a.safetensors")
    project.mkdir()
    run(project, "git", "init", "-q")
    run(project, "dvc", "init", "-q")
    run(project, "dvc", "config", "core.analytics", "false")
    run(project, "dvc", "config", "cache.type", "hardlink")  # as where no reflinks are
    (project / "dvc.yaml").write_text(GRAPH.format(write=WRITE.format(made=made)))
    (project / "read.py").write_text(READ)
    run(project, "dvc", "repro")
    return project


def object_of(project: Path, name: str) -> Path:
    md5 = hashlib.md5((project / name).read_bytes(), usedforsecurity=False).hexdigest()
    return project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def damage(found: Path, content: bytes) -> None:
    """As a disk does it: the object stays read-only."""
    found.chmod(0o644)
    found.write_bytes(content)
    found.chmod(0o444)


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def remove(project: Path, name: str) -> None:
    """The output that this file is of."""
    path = project / name.partition("/")[0]
    shutil.rmtree(path)


def damaged_objects(project: Path) -> list[Path]:
    """What the page's first command names."""
    look = command("docs/reliability.md", "> damaged")
    run(project, "bash", "-c", look)
    return [project / line for line in (project / "damaged").read_text().splitlines()]


def remove_damaged(project: Path) -> None:
    """What the page's second command does, after the first."""
    damaged_objects(project)
    run(project, "bash", "-c", command("docs/reliability.md", "xargs rm"))


@pytest.mark.parametrize("name", KINDS)
def test_damaged_object_is_made_again(project: Path, name: str) -> None:
    assert not damaged_objects(project)
    whole, found = (project / name).read_bytes(), object_of(project, name)
    damage(found, flipped(whole))
    remove(project, name)
    run(project, "dvc", "checkout")
    assert (project / name).read_bytes() == flipped(whole)
    assert "up to date" in run(project, "dvc", "status")
    if name == KINDS[0]:
        assert name in run(project, "dvc", "repro", "-f", "-s", "read", expect=255)
    assert damaged_objects(project) == [found]
    remove_damaged(project)
    assert not found.exists()
    assert stages_run(run(project, "dvc", "repro"))[0] == "write"
    assert (project / name).read_bytes() == found.read_bytes() == whole
    assert not damaged_objects(project)


def test_running_a_stage_again_brings_a_damaged_object_back(project: Path) -> None:
    """DVC keeps what it has under a name, and links the workspace to it: it has to be removed."""
    name = KINDS[0]
    whole, found = (project / name).read_bytes(), object_of(project, name)
    damage(found, flipped(whole))
    assert (project / name).samefile(found), "a file of the workspace is its object"
    run(project, "dvc", "repro", "-f", "-s", "write")
    assert (project / name).read_bytes() == found.read_bytes() == flipped(whole)
    remove_damaged(project)
    run(project, "dvc", "repro")
    assert (project / name).read_bytes() == found.read_bytes() == whole


def test_an_object_swapped_for_another_is_fetched_from_the_remote(
    project: Path, tmp_path: Path, tiny_inits: dict[str, Path]
) -> None:
    """Weights of another run are whole: only their object's name tells."""
    run(project, "dvc", "remote", "add", "-d", "store", str(tmp_path / "remote"))
    run(project, "dvc", "push")
    name = KINDS[0]
    whole, found = (project / name).read_bytes(), object_of(project, name)
    damage(found, tiny_inits["random"].read_bytes())
    remove(project, name)
    run(project, "dvc", "checkout")
    run(project, "dvc", "repro", "-f", "-s", "read")
    assert damaged_objects(project) == [found]
    remove_damaged(project)
    assert not found.exists()
    remove(project, name)  # else DVC takes what it linked for whole
    run(project, "dvc", "pull")
    assert (project / name).read_bytes() == found.read_bytes() == whole
    assert not stages_run(run(project, "dvc", "repro", "read"))


def test_weights_swapped_in_the_workspace_are_put_back(
    project: Path, tiny_inits: dict[str, Path]
) -> None:
    path = project / KINDS[0]
    whole = path.read_bytes()
    path.unlink()
    shutil.copy(tiny_inits["random"], path)
    assert f"modified:           {KINDS[0]}" in run(project, "dvc", "status")
    run(project, "dvc", "repro")
    assert path.read_bytes() == whole
