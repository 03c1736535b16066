"""The stage under `torchrun`, as on several GPUs or nodes; here two processes on a CPU."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file
from shipped import PARAMS

from eocontrast.config.pretraining import BackboneParams, DualSimCLRRun
from eocontrast.patches.store import PatchStore

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def stage(folder: Path, store: Path, *launcher: str) -> tuple[dict[str, torch.Tensor], int]:
    """Weights of two seeds, and how many MLflow runs there are, after `stages/pretrain.py`."""
    database = f"sqlite:///{folder / 'mlflow.db'}"
    script = str(ROOT / "stages" / "pretrain.py")
    subprocess.run(
        [sys.executable, *launcher, script, "tiny", str(store), "tiny.safetensors"],
        cwd=folder, check=True, env={**os.environ, "MLFLOW_TRACKING_URI": database},
    )  # fmt: skip
    assert not list((folder / "checkpoints").iterdir())
    with sqlite3.connect(folder / "mlflow.db") as opened:
        (runs,) = opened.execute("select count(*) from runs").fetchone()
    weights = {
        "0": load_file(folder / "tiny.safetensors"),
        "1": load_file(folder / "tiny/1.safetensors"),
    }
    return {f"{seed}.{k}": v for seed, tensors in weights.items() for k, v in tensors.items()}, runs


@pytest.mark.slow
def test_stage_of_two_processes(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    tiny_run: DualSimCLRRun,
) -> None:
    yaml = YAML()
    params = yaml.load(PARAMS.read_text())
    params["precision"] = "no"
    swin = tiny_backbones["swin"].model_dump()
    # stochastic depth would drop other branches on two processes
    params["backbones"]["swin"] = {**swin, "options": {**swin["options"], "drop_path_rate": 0.0}}
    run = tiny_run.model_copy(update={"backbone": "swin", "lr": 1e-3, "seeds": (0, 1)})
    params["pretrain"]["runs"]["tiny"] = run.model_dump()
    found = []
    for name, launcher in (("one", ()), ("two", TORCHRUN)):
        folder = tmp_path / name
        folder.mkdir()
        with (folder / "params.yaml").open("w") as file:
            yaml.dump(params, file)
        weights, runs = stage(folder, tiny_store.folder.absolute(), *launcher)
        assert runs == 2  # one per seed, whatever the number of processes
        found.append(weights)
    assert found[0].keys() == found[1].keys()
    for key, expected in found[0].items():
        torch.testing.assert_close(found[1][key], expected, rtol=1e-3, atol=1e-4)
