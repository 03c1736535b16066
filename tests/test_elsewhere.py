"""No home, a plain locale, an odd folder, no network: the first stages run all the same.

The others need nothing of these that the first ones do not; `test_pipeline.py` runs them all.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from eocontrast.sources import read_source

ROOT = Path(__file__).parents[1]

SHUT = """
import runpy, socket, sys

def refuse(*arguments):
    raise OSError("there is no network")

socket.socket.connect = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a stage in a process that reaches no other machine, nor this one by its address."""


@pytest.mark.slow
def test_the_first_stages_need_neither_home_nor_locale_nor_network(tmp_path: Path) -> None:
    project = tmp_path / "Wald & Wiese; 'äöü' $x"
    project.mkdir()
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    scenes = {"pretrain_scenes": 2, "train_scenes": 2, "test_scenes": 2}
    params["sources"]["simulated"] |= {"patch_size": 16, "scene_size": 2, **scenes}
    params["normalise"] |= {"check_shift": False}
    yaml.dump(params, project / "params.yaml")
    bare = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    manifests, store = "data/manifests/simulated", "data/patches/simulated"
    for arguments in (
        ("download", "simulated", "data/raw/simulated", manifests),
        ("normalise", manifests, store, "metrics/audit.json"),
    ):
        stage = str(ROOT / f"stages/{arguments[0]}.py")
        done = subprocess.run(
            [sys.executable, "-c", SHUT, stage, *arguments[1:]],
            cwd=project,
            env={**bare, "LANG": "C", "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert len(read_source(project / manifests).manifest) == 24
    assert (project / store / "stats.json").exists()
    assert (project / "mlflow.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [project.name]
