"""Headers of fine-tuned files, and short trainings."""

from __future__ import annotations

from typing import Any

from eocontrast.config.arms import Arm
from eocontrast.config.finetuning import Recipe
from eocontrast.finetuning.budgets import Budget
from eocontrast.finetuning.forward import Inputs
from eocontrast.finetuning.loop import fit
from eocontrast.models.backbones import Architecture
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.tasks import Task
from eocontrast.training.checkpoint import Metrics

DEFAULT: dict[str, Any] = {
    "task": "single_label",
    "head": "linear",
    "fusion": "late",
    "init": "random_resnet",
    "method": "random",
    "pretrained_digest": "",
    "frozen": False,
    "lr": 1e-3,
    "backbone_lr_scale": 1.0,
    "modality_dropout": 0.0,
    "recipe": {"epochs": 1, "neighbours": 5, "neighbour_temperature": 0.1},
    "fraction": 1.0,
    "seed": 0,
    "n_labels": 12,
    "n_pixels": 0,
    "n_validation": 0,
    "architecture": Architecture("resnet10t", {}),
    "inputs": {},
    "classes": ("Forest", "Urban", "Water"),
    "palette": {},
    "data": {},
    "data_digest": "abc",
}


def finetuned_spec(**fields: Any) -> FinetunedSpec:  # noqa: ANN401 - any field of the header
    """A linear head on two sensors from scratch, but for `fields`."""
    return FinetunedSpec(**{**DEFAULT, **fields})


ARM: dict[str, Any] = {
    "init": "random_resnet",
    "task": "classification",
    "head": "linear",
    "fusion": "late",
    "frozen": False,
    "lr": 0.01,
    "backbone_lr_scale": 1.0,
    "modality_dropout": 0.0,
}


def make_arm(**fields: Any) -> Arm:  # noqa: ANN401 - any field of an arm
    """Make a linear head on two sensors from scratch, but for `fields`."""
    return Arm(**{**ARM, **fields})


RECIPE: dict[str, Any] = {
    "epochs": 6,
    "min_steps": 1,
    "batch_size": 8,
    "crop": 16,
    "weight_decay": 0.01,
    "val_fraction": 0.0,
    "class_weights": "none",
}


def fit_with(
    inputs: Inputs,
    task: Task,
    budget: Budget,
    seed: int = 0,
    keep_statistics: bool = False,
    **fields: Any,  # noqa: ANN401 - any field of the arm or the recipe
) -> list[Metrics]:
    """Train six epochs in batches of 8 at a rate of 0.01, but for `fields`."""
    arm = Arm(**{name: fields.get(name, value) for name, value in ARM.items()})
    # the schema has bounds that tests step over, such as a batch of one
    recipe = Recipe.model_construct(**{n: fields.get(n, value) for n, value in RECIPE.items()})
    return fit(inputs, task, budget, arm, recipe, seed, keep_statistics)
