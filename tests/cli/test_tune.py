"""What is tried for one arm is tried for all, and scored alike."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from clones import keep_arms, shrink
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.cli import tune as tuning
from eocontrast.config.params import Params

ARMS = ("s2", "dual_simclr", "dual_simclr_frozen", "dual_simclr_knn", "unet")


@pytest.fixture
def params() -> Params:
    """Arms of every kind, on patches of 16 pixels."""
    content: dict[str, Any] = YAML(typ="safe").load(PARAMS)
    keep_arms(content["label_curve"], ARMS)
    arms = deepcopy(content["label_curve"]["arms"])
    shrink(content)
    content["label_curve"] |= {"arms": arms, "ensembles": {}}
    content["qualitative"] |= {"arms": ["unet"]}
    for recipe in content["finetune"]["recipe"].values():
        recipe |= {"min_steps": 1, "crop": 16}
    for run in content["pretrain"]["runs"].values():
        run |= {"epochs": 1, "crop": 8} if "crop" in run else {}
    return Params.model_validate(content)


@pytest.fixture
def pretrained(tiny_inits: Mapping[str, Path], tmp_path: Path) -> Path:
    """The inits by the names of the arms."""
    for name, file in (("random_resnet", "random"), ("dual_simclr_resnet", "dual_simclr")):
        (tmp_path / f"{name}.safetensors").write_bytes(tiny_inits[file].read_bytes())
    return tmp_path


def test_every_arm_has_as_many_settings_as_the_others_of_its_kind(
    params: Params, mixed_folder: Path, pretrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "SEEDS", (0,))
    rows = list(tuning.try_arms(params, mixed_folder, pretrained, ARMS[:4]))
    tried = {
        name: [(r["lr"], r["backbone_lr_scale"]) for r in rows if r["arm"] == name] for name in ARMS
    }
    assert [len(tried[name]) for name in ARMS] == [4, 4, 4, 1, 0]
    assert tried["dual_simclr"] == tuning.FINETUNED["linear"]
    assert all(0 <= r["score_0.1"] <= 1 and r["metric"] == "AA" for r in rows)
    assert all(r["mean"] == pytest.approx((r["score_0.1"] + r["score_1"]) / 2) for r in rows)
    assert len({r["mean"] for r in rows}) > 2  # settings matter


def test_a_pretraining_is_scored_by_its_frozen_arm(
    params: Params, mixed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "SEEDS", (0,))
    monkeypatch.setattr(tuning, "PRETRAINING", [(8, 1e-3), (4, 1e-3)])
    rows = list(tuning.try_pretraining(params, mixed_folder))
    assert [(r["init"], r["batch_size"]) for r in rows] == [
        ("dual_simclr_resnet", 8),
        ("dual_simclr_resnet", 4),
    ]
    assert {r["probe"] for r in rows} == {"dual_simclr_frozen"}
