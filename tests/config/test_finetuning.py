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
