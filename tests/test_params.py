from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from eocontrast.errors import UserError
from eocontrast.params import Params, check_params, load_params

COMMITTED = Path(__file__).parents[1] / "params.yaml"

MISSING = object()

MISTAKES: dict[str, tuple[str, object]] = {
    # dotted key of params.yaml -> what is wrong there; the message must name the key
    "epochs: no epochs": ("pretrain.runs.dual_simclr_resnet.epochs", 0),
    "epochs: half": ("pretrain.runs.dual_simclr_resnet.epochs", 1.5),
    "batch of one": ("pretrain.runs.dual_simclr_resnet.batch_size", 1),
    "temperature: zero": ("pretrain.runs.dual_simclr_swin.temperature", 0),
    "temperature: missing": ("pretrain.runs.dual_simclr_swin.temperature", MISSING),
    "run: lr is a word": ("pretrain.runs.dual_simclr_resnet.lr", "fast"),
    "run: lr is infinite": ("pretrain.runs.dual_simclr_resnet.lr", float("inf")),
    "run: unknown key": ("pretrain.runs.dual_simclr_resnet.epoch", 3),
    "run: key of another method": ("pretrain.runs.random_resnet.epochs", 3),
    "run: unknown backbone": ("pretrain.runs.random_resnet.backbone", "resnet50"),
    "precision": ("precision", "fp16"),
    "data": ("data.pretrain", "sen12"),
    "section missing": ("normalise", MISSING),
    "test_fraction: all": ("normalise.test_fraction", 1.0),
    "shard: none": ("normalise.shard_mib", 0),
    "patch_size: odd": ("sources.simulated.patch_size", 65),
    "units": ("sources.manifest.s1.units", "db"),
    "class beyond 16 bits": ("sources.manifest.classes.Forest", 70000),
    "unknown key at the top": ("finetun", {}),
    "init: unknown": ("finetune.init", "dual_simclr"),
    "fusion: unknown": ("finetune.fusion", "middle"),
    "fraction: zero": ("finetune.fraction", 0),
    "fraction: percent": ("finetune.fraction", 10),
    "fraction: not a number": ("finetune.fraction", float("nan")),
    "seed: negative": ("finetune.seed", -1),
    "val_fraction": ("finetune.recipe.val_fraction", 0.6),
    "task": ("finetune.recipe.task", "segmentation"),
    "no fractions": ("label_curve.fractions", []),
    "fractions: twice": ("label_curve.fractions", [0.1, 1, 1.0]),
    "seeds: twice": ("label_curve.seeds", [0, 1, 0]),
    "too few samples": ("label_curve.bootstrap_samples", 10),
    "arm: unknown init": ("label_curve.arms.s1.init", "nothing"),
    "arm: lr of an arm that is named like a method": ("label_curve.arms.dual_simclr.lr", -1),
    "arm: a name that is no file name": ("label_curve.arms.my/arm", {}),
}


@pytest.fixture
def raw() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMMITTED)
    return deepcopy(loaded)


def put(raw: dict[str, Any], where: str, value: object) -> dict[str, Any]:
    *parents, key = where.split(".")
    section = raw
    for parent in parents:
        section = section[parent]
    if value is MISSING:
        del section[key]
    else:
        section[key] = value
    return raw


def test_the_committed_file_loads() -> None:
    params = load_params(COMMITTED)
    assert params.finetune.init in params.pretrain.runs
    assert params.finetune.arm().lr == params.finetune.lr


def test_every_arm_and_run_of_the_committed_file_is_read(raw: dict[str, Any]) -> None:
    params = load_params(COMMITTED)
    assert list(params.label_curve.arms) == list(raw["label_curve"]["arms"])
    assert list(params.pretrain.runs) == list(raw["pretrain"]["runs"])
    assert params.label_curve.fractions == tuple(raw["label_curve"]["fractions"])


@pytest.mark.parametrize(("where", "value"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_named(raw: dict[str, Any], where: str, value: object) -> None:
    with pytest.raises(UserError) as caught:
        check_params(put(raw, where, value), "my.yaml")
    assert where in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")


def test_an_unknown_method_is_named_with_those_there_are(raw: dict[str, Any]) -> None:
    put(raw, "pretrain.runs.dual_simclr_swin.method", "moco")
    with pytest.raises(UserError, match=r"runs\.dual_simclr_swin.*moco.*method.*'dual_simclr'"):
        check_params(raw)


def test_all_mistakes_are_named_at_once(raw: dict[str, Any]) -> None:
    put(raw, "finetune.fraction", 2)
    put(raw, "normalise.seed", "zero")
    with pytest.raises(UserError, match=r"normalise\.seed.*finetune\.fraction"):
        check_params(raw)


@pytest.mark.parametrize("where", ["finetune", "label_curve.arms.late"])
def test_early_fusion_cannot_start_from_one_backbone_a_sensor(
    raw: dict[str, Any], where: str
) -> None:
    put(raw, f"{where}.fusion", "early")
    put(raw, f"{where}.init", "random_resnet")
    put(raw, "finetune.frozen", False)
    check_params(raw)
    put(raw, f"{where}.init", "dual_simclr_resnet")
    with pytest.raises(UserError, match=rf"{where}: fusion early.*dual_simclr_resnet.*late"):
        check_params(raw)


@pytest.mark.parametrize("where", ["finetune", "label_curve.arms.s2"])
def test_random_backbones_cannot_be_frozen(raw: dict[str, Any], where: str) -> None:
    put(raw, f"{where}.init", "random_resnet")
    put(raw, f"{where}.frozen", True)
    with pytest.raises(UserError, match=rf"{where}: frozen.*random_resnet"):
        check_params(raw)


def test_parameters_are_frozen(raw: dict[str, Any]) -> None:
    params = check_params(raw)
    with pytest.raises(ValueError, match="frozen"):
        params.finetune.fraction = 0.5  # type: ignore[misc]


def test_bands_of_the_manifest_are_checked_as_a_modality(raw: dict[str, Any]) -> None:
    params = check_params(put(raw, "sources.manifest.s2.valid_range", [5.0, 5.0]))
    with pytest.raises(UserError, match="valid_range"):
        params.sources.manifest.s2.modality()
    assert params.sources.manifest.s1.modality().bands == ("VV", "VH")


@pytest.mark.parametrize(
    "text", ["a: [1, 2", "a: 1\na: 2\n", "", "- 1\n- 2\n", "\x00", "just words"]
)
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_params(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml"):
        load_params(tmp_path / "gone.yaml")


def test_exponents_are_numbers(tmp_path: Path, raw: dict[str, Any]) -> None:
    """PyYAML reads 1e-4 as a string."""
    path = tmp_path / "params.yaml"
    path.write_text(COMMITTED.read_text().replace("lr: 1e-3", "lr: 5e-4"))
    run = load_params(path).pretrain.runs["dual_simclr_resnet"]
    assert run.model_dump()["lr"] == 0.0005


def test_every_section_refuses_unknown_keys() -> None:
    """Down to the last section: a misspelt key must never be a default."""
    sections: list[Mapping[str, Any]] = [Params.model_json_schema()["$defs"]]
    objects = [s for s in sections[0].values() if s.get("type") == "object"]
    assert len(objects) > 10
    assert all(section["additionalProperties"] is False for section in objects)
