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


@pytest.mark.parametrize("name", ["dual_simclr", "mma_frozen", "dual_simclr_knn", "unet", "s1"])
def test_single_run_of_arm(raw: dict[str, Any], name: str) -> None:
    raw["finetune"]["arm"] = name
    params = check_params(raw)
    assert params.single_arm == params.label_curve.named_arms[name]


def test_single_run_overrides(raw: dict[str, Any]) -> None:
    """What the single run sets for itself replaces the arm's setting, and nothing else does."""
    own = {"lr": 0.5, "frozen": True, "init": "mma", "modality_dropout": 0.25}
    raw["finetune"] |= own
    params = check_params(raw)
    arm = params.label_curve.named_arms["dual_simclr"]
    assert params.single_arm == arm.model_copy(update=own)
    assert params.finetune.overrides() == own


def test_init_without_a_sensor(raw: dict[str, Any]) -> None:
    raw["finetune"]["init"] = "simclr_s2"
    with pytest.raises(UserError, match=r"finetune: fusion late needs s1.*use fusion s2"):
        check_params(raw)
    raw["finetune"]["fusion"] = "s2"
    assert check_params(raw).single_arm.sensors == ("s2",)


def test_misspelt_arm(raw: dict[str, Any]) -> None:
    raw["finetune"]["arm"] = "dual_simcrl"
    with pytest.raises(
        UserError, match=r"finetune\.arm is 'dual_simcrl'.*did you mean dual_simclr"
    ):
        check_params(raw)


def note(raw: dict[str, Any], **settings: object) -> str:
    raw["finetune"] |= settings
    params = check_params(raw)
    return params.finetune.rates_note(params.label_curve.named_arms)


def test_rates_of_another_init_are_noted(raw: dict[str, Any]) -> None:
    arms = check_params(raw).label_curve.named_arms
    message = note(raw, init="mma")
    assert "\n" not in message
    lr, own = f"lr {arms['dual_simclr'].lr:g}", arms["dual_simclr"].init
    for part in ("finetune.init is mma", lr, own, "set finetune.lr and finetune.backbone_lr_scale"):
        assert part in message
    tuned = ", ".join(name for name, arm in arms.items() if arm.init == "mma")
    assert f"arm tuned on it ({tuned})" in message
    half = note(raw, lr=0.01)
    assert "set finetune.backbone_lr_scale" in half
    assert lr not in half


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"init": "dual_simclr_resnet"},
        {"init": "mma", "lr": 0.01, "backbone_lr_scale": 1.0},
        {"arm": "dual_simclr_knn", "init": "mma"},
    ],
)
def test_rates_that_fit_are_not_noted(raw: dict[str, Any], settings: dict[str, object]) -> None:
    assert not note(raw, **settings)
