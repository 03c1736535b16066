"""Published weights in params.yaml."""

from pathlib import Path
from typing import Any

import pytest
import torchgeo_stub
from ruamel.yaml import YAML

from eocontrast.config.params import check_params
from eocontrast.runtime.errors import UserError

MOCO = {"s1": "rn50_s1_moco", "s2": "rn50_s2_moco"}


def params(published: dict[str, Any]) -> dict[str, Any]:
    raw = YAML(typ="safe", pure=True).load(Path(__file__).parents[1] / "params.yaml")
    raw["pretrain"]["published"] = published
    made: dict[str, Any] = raw
    return made


def test_run_is_an_init() -> None:
    raw = params({"moco": MOCO})
    arms = raw["label_curve"]["arms"]
    arms["moco"] = {"mine": arms["dual_simclr_resnet"]["dual_simclr"]}
    assert check_params(raw).pretrain.inits["moco"].sensors == ("s1", "s2")


CLOSP = {"s1": "vits16_s1_closp", "s2": "vits16_s2_closp"}

SEGMENTS: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "unet on ResNets": (MOCO, {"head": "unet"}, ""),
    "unet on ResNets at every scale": (MOCO, {"head": "unet", "fusion": "scales"}, ""),
    "upernet on ViTs": (CLOSP, {"head": "upernet", "frozen": True}, ""),
    "linear on both": ({**MOCO, "s1": CLOSP["s1"]}, {"head": "linear", "frozen": True}, ""),
    "unet on ViTs": (CLOSP, {"head": "unet"}, "finetune: head unet needs maps that halve"),
    "unet on one ViT": (
        {**MOCO, "s2": CLOSP["s2"]},
        {"head": "unet"},
        "finetune: head unet needs maps that halve",
    ),
    "scales of two architectures": (
        {**MOCO, "s1": CLOSP["s1"]},
        {"head": "upernet", "fusion": "scales"},
        "finetune: fusion scales joins maps of one architecture.*use fusion late",
    ),
    "swin_unet": (MOCO, {"head": "swin_unet"}, "finetune: head swin_unet decodes a Swin"),
    "early": (MOCO, {"head": "unet", "fusion": "early"}, "finetune: fusion early.*fusion late"),
    "one sensor": ({"s2": MOCO["s2"]}, {"head": "unet"}, "finetune: fusion late needs s1"),
}


@pytest.mark.parametrize("case", SEGMENTS)
def test_segmentation_of_single_run(case: str) -> None:
    run, settings, message = SEGMENTS[case]
    raw = params({"mine": run})
    single = {"arm": "swin_unet_dual", "init": "mine", "fusion": "late", **settings}
    raw["finetune"] |= single
    if not message:
        assert check_params(raw).single_arm.head == settings["head"]
        return
    with pytest.raises(UserError, match=message):
        check_params(raw)


WRONG = {
    "unknown name": ({"s1": "rn50_s1_mocco"}, "did you mean rn50_s1_moco"),
    "other sensor": ({"s1": "rn50_s2_moco"}, "s1 is rn50_s2_moco, whose weights are of s2"),
    "nothing": ({}, "names no weights"),
    "no digest": ({"s1": "rn50_s1_softcon"}, "weights fetch rn50_s1_softcon --unverified"),
    "foundation": ({"s1": "galileo"}, "galileo is not among .* no package on the index has its"),
    "no torchgeo": ({"s1": "croma_s1_base"}, "s1: croma_s1_base needs torchgeo.*foundation"),
    "idle digest": ({**MOCO, "sha256": {"rn18_s2_moco": "0" * 64}}, "neither its s1 nor its s2"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_run(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torchgeo_stub.uninstall(monkeypatch)
    run, message = WRONG[case]
    with pytest.raises(UserError, match=message):
        check_params(params({"mine": run}))


def test_published_among_runs() -> None:
    raw = params({})
    raw["pretrain"]["runs"]["moco"] = {"method": "published", **MOCO}
    with pytest.raises(UserError, match=r"list it under pretrain\.published\.moco"):
        check_params(raw)


def test_init_from_fits_sensors() -> None:
    raw = params({})
    raw["pretrain"]["runs"]["simclr_s2"]["init_from"] = "rn50_s2_moco"
    assert check_params(raw)
    raw["pretrain"]["runs"]["simclr_s2"]["init_from"] = "rn50_s1_moco"
    with pytest.raises(UserError, match="names weights of s1, but the run trains s2"):
        check_params(raw)
