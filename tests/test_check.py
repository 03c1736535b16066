"""The first stage: mistakes are named before DVC removes an output of another stage."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.runtime.errors import UserError

ROOT = Path(__file__).parents[1]
STAGES: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]

Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The stage in a folder of its own, with changed parameters."""
    shutil.copytree(ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("raw"))
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("check", ROOT / "stages/check.py")
    assert spec is not None
    assert spec.loader is not None
    stage = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stage)

    def run(**changes: object) -> None:
        params = YAML(typ="safe", pure=True).load(PARAMS)
        for dotted, value in changes.items():
            *folders, last = dotted.split("__")
            section = params
            for folder in folders:
                section = section[folder]
            section[last] = value
        YAML().dump(params, Path("params.yaml"))
        stage.main(Path("inputs"))

    return run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finetune__init": "dual_simclr"}, r"finetune\.arm=dual_simclr"),
        ({"finetune__arm": "dual_simcrl"}, "did you mean dual_simclr"),
        ({"finetune__init": "dual_simclr_resnt"}, "did you mean dual_simclr_resnet"),
        (
            {"finetune__lr": -1},
            r"yaml: finetune\.lr is -1; expected greater than 0\n",
        ),
        ({"data__finetune": "sentinel"}, "data.finetune is 'sentinel'.*'manifest'"),
        ({"backbones__resnet__name": "resnet81"}, "backbones.resnet .* did you mean resnet"),
        (
            {"backbones__vgg": {"name": "mixer_s32_224", "options": {}, "scaling": "crop_maximum"}},
            "backbones.vgg .* mixer_s32_224 does not take images of 32 x 32 pixels",
        ),
    ],
)
def test_mistake_has_way_back(check: Check, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check(**changes)
    assert "No output was removed" in str(caught.value)
    assert "git restore params.yaml" in str(caught.value)


def test_inputs_follow_own_files(check: Check) -> None:
    check()
    before = {file.name: file.read_bytes() for file in Path("inputs").iterdir()}
    with Path("data/manifest.csv").open("a") as manifest:
        manifest.write("a,1.tif,2.tif,,,\n")
    check()
    after = {file.name: file.read_bytes() for file in Path("inputs").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"manifest.json"}


def test_equal_models_are_not_built_again(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr("eocontrast.models.sizes.check_sizes", lambda *given: built.append(given))
    check()
    first = len(built)
    check(finetune__fraction=0.5)
    assert first == len(built) > 3
    assert json.loads(Path("inputs/backbones.json").read_text())["resnet"]["sides"] == {
        "features": [32, 48],
        "unet": [32, 48],
    }
    check(backbones__resnet__name="resnet18", backbones__resnet__options={})
    assert len(built) > first


def test_every_stage_waits_for_check() -> None:
    """DVC removes an output only after all stages before it have ended well."""
    assert "data/inputs/${item.source}.json" in STAGES["download"]["deps"]
    made = {"data/inputs/${item.source}.json", "data/inputs/published.json"}
    waiting = {name: stage.get("do", stage) for name, stage in STAGES.items() if name != "check"}
    while waiting:
        ready = {
            name: stage
            for name, stage in waiting.items()
            if any(dep == out or dep in out for dep in stage["deps"] for out in _heads(made))
        }
        assert ready, f"{sorted(waiting)} may run before check"
        for name, stage in ready.items():
            made |= {next(iter(o)) if isinstance(o, dict) else o for o in _outputs(stage)}
            del waiting[name]


def _outputs(stage: dict[str, Any]) -> list[Any]:
    return [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]


def _heads(made: set[str]) -> set[str]:
    """Outputs, and the folders that they lie in; templates stand for their values."""
    paths = {out.replace("item.source", "data.finetune") for out in made}
    paths |= {out.replace("item.source", "data.pretrain") for out in made} | made
    return paths | {str(Path(p).parent) for p in paths}
