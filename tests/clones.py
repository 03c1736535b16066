"""The whole project in a temporary clone with tiny parameters, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import TemporaryFile
from typing import Any

from documents import command
from mlflow import MlflowClient
from mlflow.entities import Run
from ruamel.yaml import YAML
from shipped import PARAMS

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
OWN = ("HOME", "USER", "LOGNAME", "XDG_", "GIT_", "DVC_", "MLFLOW")
"""Beginnings of names of what a person has, and a bare account has not."""
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(OWN)},
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",  # two clones run side by side
    "LOKY_MAX_CPU_COUNT": "1",  # a worker takes longer to import torch than for its work here
    "GIT_CONFIG_GLOBAL": os.devnull,  # git finds a home by the account as well
    "GIT_CONFIG_SYSTEM": os.devnull,
}
NO_NETWORK = ROOT / "tests/no_network"
"""On PYTHONPATH: no Python process reaches another machine."""
TINY_BACKBONES = {
    "resnet": {
        "name": "resnet10t",
        "options": {"channels": [8, 8, 16, 16], "stem_width": 8},
        "scaling": "band_statistics",
    },
    "swin": {
        "name": "swin_tiny_patch4_window7_224",
        "options": {
            "img_size": 32,
            "window_size": 4,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 2],
        },
        "scaling": "band_statistics",
    },
    "vgg": {
        "name": "mma_vgg",
        "options": {"channels": [4, 8, 8, 8]},
        "scaling": "band_statistics",
    },
}
INITS = ("random_resnet", "dual_simclr_resnet", "dual_simclr_swin", "mma")
CLASSIFIERS = ("s2", "mma_frozen", "dual_simclr", "dual_simclr_knn")
SEGMENTERS = ("unet", "swin_unet_dual")
ARMS = (*CLASSIFIERS, *SEGMENTERS)
FRACTIONS, SEEDS = (0.1, 1.0), (0, 1)
POINTS = len(FRACTIONS) * len(SEEDS)
"""Of every arm."""


def keep_arms(curve: dict[str, Any], names: Collection[str]) -> None:
    """Leave the other arms out, and inits that lose all of theirs."""
    kept = {
        init: {name: arm for name, arm in arms.items() if name in names}
        for init, arms in curve["arms"].items()
    }
    curve["arms"] = {init: arms for init, arms in kept.items() if arms}


def shrink(params: dict[str, Any]) -> None:
    """Every stage and every kind of arm, seconds each."""
    params["precision"] = "no"
    params["sources"]["simulated"] |= {
        "patch_size": 32,
        "scene_size": 3,
        "labelled_scene_size": 3,
        "test_patches": 0,
        "pretrain_scenes": 4,
        "train_scenes": 12,
        "test_scenes": 8,
    }
    params["backbones"] = TINY_BACKBONES
    runs, curve = params["pretrain"]["runs"], params["label_curve"]
    params["pretrain"]["runs"] = {name: runs[name] for name in INITS}
    for run in params["pretrain"]["runs"].values():
        tiny = {"epochs": 2, "batch_size": 32, "crop": 24, "projection_dim": 8}
        run |= {name: value for name, value in tiny.items() if name in run}
    for recipe in params["finetune"]["recipe"].values():
        tiny = {"epochs": 1, "head_epochs": 1, "min_steps": 12, "crop": 24}
        recipe |= {name: value for name, value in tiny.items() if name in recipe}
    curve |= {
        "fractions": list(FRACTIONS),
        "seeds": list(SEEDS),
        "more_seeds": [],
        "headline": {},
        "bootstrap_samples": 100,
    }
    keep_arms(curve, ARMS)
    params["qualitative"] |= {"patches": 2, "arms": ["unet", "swin_unet_dual", "ensemble"]}


def shrink_further(params: dict[str, Any]) -> None:
    """One classifier from scratch and a pretrained one, and a segmenter, for real rasters."""
    shrink(params)
    runs, curve = params["pretrain"]["runs"], params["label_curve"]
    inits = ("random_resnet", "dual_simclr_resnet")
    params["pretrain"]["runs"] = {name: runs[name] for name in inits}
    keep_arms(curve, ("s2", "dual_simclr", "unet"))
    curve |= {"fractions": [0.01, 1.0], "ensembles": {}}
    params["qualitative"] |= {"arms": ["unet"]}


def run(clone: Path, *command: str, expect: int = 0, env: Mapping[str, str] = ENVIRONMENT) -> str:
    """Output of a command in `clone`, which must end with this exit code."""
    # into files: the workers of a queue would hold pipes open until the last of them ends
    with TemporaryFile("w+") as told, TemporaryFile("w+") as complained:
        done = subprocess.run(
            command, cwd=clone, env=env, stdout=told, stderr=complained, check=False
        )
        said = ""
        for file in (told, complained):
            file.seek(0)
            said += file.read()
    assert done.returncode == expect, f"{command} ended with {done.returncode}:\n{said}"
    return said


def readme(clone: Path, part: str) -> str:
    """Output of the README's command that holds `part`, in `clone`."""
    return run(clone, "bash", "-c", command("README.md", part))


def clone_to(clone: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """The tracked files as they are now, with other parameters, committed."""
    names = run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, names.split("\0")):
        if name == "dvc.lock" or not (ROOT / name).is_file():
            continue
        target = clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    yaml = YAML()
    yaml.default_flow_style = False
    params = yaml.load(PARAMS)
    edit(params)
    yaml.dump(params, clone / "params.yaml")
    run(clone, "git", "init", "-q")
    commit(clone, "Shrink the parameters")
    return clone


ODD = "Wald & Wiese; 'äöü' $x"
"""A folder's name."""


def reproduce_with_kills(clone: Path) -> None:
    """Run `dvc repro` with two workers, killed with all in a pretraining and in the curve."""
    env = {**ENVIRONMENT, "LOKY_MAX_CPU_COUNT": "2"}
    for begun in ("checkpoints/*[!k]", "checkpoints/*/*/*.json"):  # a checkpoint, a finished point
        repro = Popen(
            [str(BIN / "dvc"), "repro"],
            cwd=clone,
            env=env,
            stdout=DEVNULL,
            stderr=DEVNULL,
            process_group=0,
        )
        while repro.poll() is None and not list(clone.glob(begun)):
            time.sleep(0.005)
        assert repro.poll() is None, f"dvc repro ended before there was {begun}"
        os.killpg(repro.pid, signal.SIGKILL)
        repro.wait()
    run(clone, "dvc", "repro", env=env)


@dataclass(frozen=True)
class Experiment:
    """What `dvc exp run` said, and left in `metrics/`: files by name."""

    output: str
    left: dict[str, str]

    @property
    def scores(self) -> dict[str, Any]:
        """Those of the single run."""
        scores: dict[str, Any] = json.loads(self.left["test.json"])
        return scores


EXPERIMENTS = ("finetune.fraction=0.1", "finetune.arm=mma_frozen", "finetune.arm=swin_unet_dual")
"""What tells three of the README's commands from its others."""


def try_experiment(clone: Path, part: str) -> Experiment:
    """The README's experiment that holds `part`, in `clone`."""
    output = readme(clone, part)
    names = ("test.json", "test_classes.csv", "test_confusion.csv")
    return Experiment(output, {name: (clone / "metrics" / name).read_text() for name in names})


def introduce(clone: Path) -> None:
    """The name that DVC asks for, where an experiment finds changes to put aside."""
    run(clone, "git", "config", "user.name", "Test")
    run(clone, "git", "config", "user.email", "test@example.org")


def commit(clone: Path, message: str) -> None:
    """All files that git does not ignore, as they are."""
    run(clone, "git", "add", "-A")
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    run(clone, "git", *identity, "commit", "-qm", message)


def stages_run(output: str) -> list[str]:
    """Names of the stages that DVC says it ran."""
    marked = [line for line in output.splitlines() if line.startswith("Running stage")]
    return [line.split("'")[1] for line in marked]


def mlflow_runs(clone: Path) -> list[Run]:
    """Every run in the clone's MLflow database."""
    client = MlflowClient(tracking_uri=f"sqlite:///{clone / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("eocontrast")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))
