"""Parameters of fine-tuning: the recipe of each task, and the single run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from eocontrast.config.arms import Arm
from eocontrast.config.schema import (
    Fraction,
    Name,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
    Share,
    known_name,
)
from eocontrast.models.fusion import Fusion, Head

FROM_ARM = "from-arm"
"""Stands in params.yaml where the single run takes the setting of its arm. No name of a run can be
the same, since names have no hyphen."""

FromArm = Literal["from-arm"]


class Recipe(Section):
    """Training settings that all points of a task share.

    With `balanced` class weights, every class has the same sum of weights in the loss.
    """

    epochs: PositiveInt
    min_steps: PositiveInt
    # ask for 2: BatchNorm in training refuses one value per channel (PyTorch)
    batch_size: Annotated[int, Field(ge=2)]
    crop: PositiveInt
    weight_decay: Annotated[float, Field(ge=0)]
    val_fraction: Annotated[float, Field(ge=0, le=0.5)]
    # leave the choice open: balanced raises AA, and lowers OA and calibration (docs/methods.md)
    class_weights: Literal["none", "balanced"]


class ClassificationRecipe(Recipe):
    """A recipe with the labels of a patch and the vote of nearest neighbours.

    A linear head on frozen backbones is trained for at least `head_epochs`.
    """

    labels: Literal["single_label", "multi_label"]
    # train longer: four times the steps gained 0.02 to 0.06 AA with all labels (docs/evaluation.md)
    head_epochs: PositiveInt
    neighbours: PositiveInt
    # take 0.07 by default, as Wu et al. 2018
    neighbour_temperature: PositiveFloat


class Recipes(Section):
    """One recipe per task, shared by all its arms."""

    classification: ClassificationRecipe
    segmentation: Recipe


class FinetuneParams(Section):
    """The single run: one point of one arm, with settings of its own if you give any."""

    arm: Name
    init: Name | FromArm
    head: Head | FromArm
    fusion: Fusion | FromArm
    frozen: bool | FromArm
    lr: PositiveFloat | FromArm
    backbone_lr_scale: PositiveFloat | FromArm
    modality_dropout: Share | FromArm
    fraction: Fraction
    seed: Seed
    recipe: Recipes

    def overrides(self) -> dict[str, object]:
        """Return the settings that replace those of the arm."""
        settings = self.model_dump(include=set(Arm.model_fields))
        return {key: value for key, value in settings.items() if value != FROM_ARM}

    def chosen_arm(self, arms: Mapping[Name, Arm]) -> Arm:
        """Return the arm of the single run with its own settings.

        Raises:
            ValueError: the curve has no arm of that name.
        """
        known_name("finetune.arm", self.arm, arms)
        # arms are often named after their init, so one is easily written for the other
        if self.init in arms and self.init not in {arm.init for arm in arms.values()}:
            raise ValueError(
                f"finetune.init is {self.init!r}, which is an arm and not pretrained weights; use "
                f"finetune.arm={self.init}, or an init such as {arms[self.init].init}"
            )
        return arms[self.arm].model_copy(update=self.overrides())

    def rates_note(self, arms: Mapping[Name, Arm]) -> str:
        """Return a line about learning rates that were tuned for other weights; empty if none were.

        A rate that suits one pretraining can be off by a factor of ten for another.

        Args:
            arms: Arms of the curve by name.
        """
        arm, init = arms[self.arm], self.init
        kept = [name for name in ("lr", "backbone_lr_scale") if getattr(self, name) == FROM_ARM]
        trained = self.chosen_arm(arms).head != "knn"  # nearest neighbours have no rate
        if init in (FROM_ARM, arm.init) or not kept or not trained:
            return ""
        # as params.yaml would have them: 0.01 instead of 0.010000
        rates = " and ".join(f"{name} {getattr(arm, name):g}" for name in kept)
        settings = " and ".join(f"finetune.{name}" for name in kept)
        others = [name for name, other in arms.items() if other.init == init]
        advice = f", or finetune.arm to an arm tuned on it ({', '.join(others)})" if others else ""
        return (
            f"finetune.init is {init}, but {rates} of arm {self.arm} were tuned for its own init, "
            f"{arm.init}; set {settings}{advice}"
        )
