from typing import Any

import pytest
from ruamel.yaml import YAML
from shipped import PARAMS

from eocontrast.config.params import check_params
from eocontrast.runtime.errors import UserError


@pytest.fixture
def raw() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(PARAMS)
    return loaded


LIKE = {
    "the init as on the curve": ({"init": "dual_simclr_resnet"}, "dual_simclr"),
    "another method": ({"init": "mma"}, "mma"),
    "one sensor": ({"init": "simclr_s2"}, "simclr"),
    "frozen": ({"init": "mma", "frozen": True}, "mma_frozen"),
    "neighbours": (
        {"init": "dual_simclr_resnet", "head": "knn", "frozen": True},
        "dual_simclr_knn",
    ),
    "from scratch": ({"init": "random_resnet"}, "late"),
    "from scratch, early": ({"init": "random_resnet", "fusion": "early"}, "early"),
    "from scratch, one sensor": ({"init": "random_resnet", "fusion": "s1"}, "s1"),
    "segmentation": ({"task": "segmentation", "init": "dual_simclr_swin"}, "swin_unet_dual"),
    "segmentation from scratch": ({"task": "segmentation", "init": "random_swin"}, "swin_unet"),
    "the baseline of segmentation": ({"task": "segmentation", "init": "random_resnet"}, "unet"),
}


@pytest.mark.parametrize(("fields", "name"), LIKE.values(), ids=list(LIKE))
def test_what_is_left_open_is_as_on_the_curve(
    raw: dict[str, Any], fields: dict[str, Any], name: str
) -> None:
    raw["finetune"] |= fields
    params = check_params(raw)
    assert params.single_arm == params.label_curve.arms[name]


def test_an_init_that_the_curve_lacks_learns_as_its_method_does(raw: dict[str, Any]) -> None:
    raw["pretrain"]["runs"]["another"] = raw["pretrain"]["runs"]["dual_simclr_swin"]
    raw["finetune"] |= {"init": "another"}
    params = check_params(raw)
    like = params.label_curve.arms["dual_simclr"]
    assert params.single_arm == like.model_copy(update={"init": "another"})


def test_what_is_given_is_taken(raw: dict[str, Any]) -> None:
    raw["finetune"] |= {"lr": 0.5, "fusion": "s1"}
    arm = check_params(raw).single_arm
    assert (arm.lr, arm.fusion, arm.backbone_lr_scale) == (0.5, "s1", 0.03)
    raw["finetune"] |= {"lr": None, "backbone_lr_scale": 0.5}
    arm = check_params(raw).single_arm
    assert (arm.lr, arm.backbone_lr_scale) == (0.01, 0.5)


def test_without_an_arm_to_learn_from_rates_must_be_given(raw: dict[str, Any]) -> None:
    curve = raw["label_curve"]
    curve["cells"] = {"scratch": curve["cells"]["scratch"], "unet": curve["cells"]["unet"]}
    curve["ensembles"] = {}
    raw["qualitative"] |= dict.fromkeys(("baseline", "scratch", "finetuned"), "unet")
    raw["finetune"] |= {"task": "segmentation", "init": "dual_simclr_swin"}
    with pytest.raises(UserError, match=r"no arm of the curve does segmentation.*give both"):
        check_params(raw)
    raw["finetune"] |= {"lr": 1e-3, "backbone_lr_scale": 0.3}
    assert check_params(raw).single_arm.head == "swin_unet"
