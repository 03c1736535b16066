"""Seeds of fine-tuning take turns among the pretrainings of a run."""

from pathlib import Path

import pytest
from shipped import PARAMS

from eocontrast.config.params import Params, load_params
from eocontrast.finetuning.points import start


@pytest.fixture(scope="module")
def params() -> Params:
    """The shipped parameters, with three pretrainings of one run."""
    shipped = load_params(PARAMS)
    runs = dict(shipped.pretrain.runs)
    name = "dual_simclr_resnet"
    runs[name] = runs[name].model_copy(update={"seeds": (4, 7, 1)})
    return shipped.model_copy(
        update={"pretrain": shipped.pretrain.model_copy(update={"runs": runs})}
    )


@pytest.mark.parametrize(
    ("seed", "file", "origin"),
    [
        (0, "dual_simclr_resnet.safetensors", 4),
        (1, "dual_simclr_resnet/7.safetensors", 7),
        (2, "dual_simclr_resnet/1.safetensors", 1),
        (3, "dual_simclr_resnet.safetensors", 4),
    ],
)
def test_seed_starts_from_its_pretraining(
    params: Params, seed: int, file: str, origin: int
) -> None:
    arm = params.label_curve.named_arms["dual_simclr"]
    assert start(params, arm, Path("p"), seed) == (Path("p") / file, origin)


def test_arm_from_scratch_has_one_start(params: Params) -> None:
    arm = params.label_curve.named_arms["late"]
    starts = {start(params, arm, Path("p"), seed) for seed in range(4)}
    assert starts == {(Path("p/random_resnet.safetensors"), 0)}
