"""The table of repeated runs."""

import json
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from clones import ROOT
from dvc.utils.hydra import apply_overrides
from shipped import PARAMS

from eocontrast.config.params import load_params


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("worlds")


def summary() -> dict[str, Any]:
    """Make results with two pretrained arms, the named one behind the other, and an ensemble."""
    gap = [{"fraction": 0.1, "value": -0.05, "low": -0.09, "high": -0.01}]
    points = {
        name: [{"fraction": 0.1, "n_labels": 9, "value": value}, {"fraction": 1.0, "value": 0.9}]
        for name, value in (("dual", 0.55), ("dual_frozen", 0.57), ("ensemble", 0.58))
    }
    task = {
        "chosen": {"supervised": "late", "pretrained": "dual"},
        "best_supervised": {"arm": "late", "value": 0.6},
        "pretrained": points,
        "difference_to_best_supervised": {"dual": gap, "dual_frozen": gap},
        "label_saving_factor": {"dual": {}, "dual_frozen": {}},
    }
    return {"single_label": task}


def test_row_of_a_run(worlds: ModuleType) -> None:
    assert worlds.rows(worlds.Repeat(2, "no", 1), summary(), {"ensemble"}) == [
        (
            *("2", "no", "1", "single label", "`late` 0.600", "`dual` 0.550"),
            *("-0.050 (-0.090 to -0.010)", "`dual_frozen`"),
        )
    ]


def test_row_without_a_run(worlds: ModuleType) -> None:
    (row,) = worlds.rows(worlds.Repeat(3, "bf16", 2), None, ())
    assert row[:4] == ("3", "bf16", "2", "not run")
    assert len(row) == len(worlds.HEAD)


def test_runs_differ_and_leave_out_tuning_world(worlds: ModuleType) -> None:
    assert len({repeat.name for repeat in worlds.REPEATS}) == 6
    assert {repeat.world for repeat in worlds.REPEATS} == {0, 2, 3}
    assert {repeat.threads for repeat in worlds.REPEATS} == {1, 2}


def test_runs_have_arms_of_the_headline_alone(worlds: ModuleType, tmp_path: Path) -> None:
    shutil.copy(PARAMS, file := tmp_path / "params.yaml")
    shipped = load_params(file).label_curve
    settings = worlds.Repeat(3, "no", 2).settings(shipped)
    assert set(settings[::2]) == {"-S"}
    apply_overrides(file, settings[1::2])
    changed = load_params(file)
    assert (changed.sources.simulated.seed, changed.precision) == (3, "no")
    assert changed.label_curve.fractions == (0.1, 1.0)
    named = {"late", "dual_simclr", "unet_late", "unet_dual"}
    frozen = {"dual_simclr_frozen", "unet_dual_frozen"}
    assert set(changed.label_curve.named_arms) == named | frozen
    assert set(changed.pretrain.runs) == {"random_resnet", "dual_simclr_resnet"}
    same = {name: shipped.named_arms[name] for name in changed.label_curve.named_arms}
    assert changed.label_curve.named_arms == same


def test_summary_of_an_experiment(
    worlds: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The experiment is a git reference, as `dvc exp run` makes it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/summary.json").write_text(json.dumps(summary()))
    name = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for words in (("init", "-q"), ("add", "."), (*name, "commit", "-qm", "run")):
        subprocess.run(("git", *words), check=True)
    repeat = worlds.REPEATS[0]
    assert worlds.summary(repeat) is None
    ref = f"refs/exps/ab/cdef/{repeat.name}"
    subprocess.run(("git", "update-ref", ref, "HEAD"), check=True)
    assert worlds.summary(repeat) == summary()
