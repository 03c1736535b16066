"""The stage `label_curve` on results of arms that no model was trained for."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from arm_results import arm
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.config.params import load_params
from eocontrast.evaluation.results import ArmResult

ROOT = Path(__file__).parents[2]
WEIGHTS = Path("models/pretrained/random_resnet.safetensors")


def call(stage: str, *arguments: str) -> None:
    """Run a stage in the working directory."""
    script = str(ROOT / f"stages/{stage}.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script, run_name="__main__")


def result(scores: Path, _: Path) -> ArmResult:
    """Make results of the arm whose scores would be in this file."""
    name, params = scores.stem, load_params()
    described = params.label_curve.named_arms.get(name)
    init = "dual_simclr_swin" if described is None else described.init
    made = arm(name, {0.1: 0.4, 1.0: 0.7}, supervised=init.startswith("random"), seed=len(name))
    return ArmResult(**{**vars(made), "init": init})


@pytest.fixture
def folder(
    tmp_path: Path,
    tiny_folder: Path,
    tiny_inits: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A project after `evaluate_grid`, as the working directory."""
    params = YAML().load(PARAMS)
    params["precision"] = "no"
    params["label_curve"] |= {
        "fractions": [0.1, 1.0],
        "seeds": [0, 1],
        "more_seeds": [],
        "bootstrap_samples": 100,
    }
    YAML().dump(params, tmp_path / "params.yaml")
    (tmp_path / "models/pretrained").mkdir(parents=True)
    (tmp_path / "metrics/audit").mkdir(parents=True)
    for run in params["pretrain"]["runs"]:
        shutil.copy(tiny_inits["dual_simclr"], tmp_path / f"models/pretrained/{run}.safetensors")
    audit = {"patches": 72, "quarantined": 0, "findings": [], "notes": []}
    (tmp_path / "metrics/audit/simulated.json").write_text(json.dumps(audit))
    np.savez(tmp_path / "metrics/qualitative.npz", note="no masks: nothing was segmented")
    monkeypatch.setattr("eocontrast.curve.outputs.read_arm", result)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_card_scores_survive_pretraining(folder: Path, tiny_folder: Path) -> None:
    """DVC skips `label_curve` if `pretrain` runs again and gives equal weights."""
    call("pretrain", "random_resnet", str(tiny_folder), str(WEIGHTS))
    call("label_curve", "metrics", "models/pretrained")
    weights = WEIGHTS.read_bytes()
    call("pretrain", "random_resnet", str(tiny_folder), str(WEIGHTS))
    assert WEIGHTS.read_bytes() == weights
    (card,) = folder.rglob("random_resnet.md")
    rows = [line for line in card.read_text().splitlines() if line.startswith("| early ")]
    assert len(rows) == 2
    assert {path.name for path in (folder / "metrics").iterdir()} == {
        "audit", "cards", "headline.json", "label_curve.csv", "label_curve.png", "per_class.csv",
        "plots.json", "qualitative.npz", "qualitative.png", "report.html", "summary.json",
    }  # fmt: skip
    assert not list((folder / "models").rglob("*.md"))
