"""Parameters of fine-tuning: how every run is trained, and where the single run stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from eocontrast.config.arms import Arm, check_head
from eocontrast.config.pretraining import BackboneParams, PretrainRun
from eocontrast.config.schema import (
    Fraction,
    Name,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
    Share,
)
from eocontrast.models.fusion import Fusion, Head


class Recipe(Section):
    """How every point of a task is trained."""

    epochs: PositiveInt
    min_steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    crop: PositiveInt
    weight_decay: Annotated[float, Field(ge=0)]
    val_fraction: Annotated[float, Field(ge=0, le=0.5)]


class ClassificationRecipe(Recipe):
    """The same of classifiers, what they learn of a patch, and how neighbours vote."""

    labels: Literal["single_label", "multi_label"]
    neighbours: PositiveInt
    neighbour_temperature: PositiveFloat


class Recipes(Section):
    """One recipe a task, shared by all its arms."""

    classification: ClassificationRecipe
    segmentation: Recipe


class FinetuneParams(Section):
    """One point of the curve, and the recipes that all points share.

    `null` leaves `head` and `fusion` to what the init allows, and the learning rates to the arm of
    the curve that is most alike, so that a single run is tuned as the curve is.
    """

    task: Literal["classification", "segmentation"]
    head: Head | None
    init: Name
    fusion: Fusion | None
    frozen: bool
    lr: PositiveFloat | None
    backbone_lr_scale: PositiveFloat | None
    modality_dropout: Share
    fraction: Fraction
    seed: Seed
    recipe: Recipes

    def arm(
        self,
        runs: Mapping[Name, PretrainRun],
        backbones: Mapping[Name, BackboneParams],
        arms: Mapping[Name, Arm],
    ) -> Arm:
        """The line of the curve that this point lies on, with nothing left open.

        Args:
            runs: of pretraining, `init` among them.
            backbones: by name.
            arms: of the curve.

        Raises:
            ValueError: the head does not do the task, or a learning rate is left to arms of which
                none has it.
        """
        run = runs[self.init]
        head = self.head or _head(self.task, backbones[run.backbone].name)
        arm = Arm(  # what learns as another arm does has rates of 1 until that is found
            task=self.task,
            head=head,
            init=self.init,
            fusion=self.fusion or _fusion(head, run),
            frozen=self.frozen,
            lr=self.lr or 1.0,
            backbone_lr_scale=self.backbone_lr_scale or 1.0,
            modality_dropout=self.modality_dropout,
        )
        check_head("finetune", arm)
        if self.lr and self.backbone_lr_scale:
            return arm
        like = _most_alike(arm, runs, arms)
        rates = {
            "lr": self.lr or like.lr,
            "backbone_lr_scale": self.backbone_lr_scale or like.backbone_lr_scale,
        }
        return arm.model_copy(update=rates)


def _most_alike(arm: Arm, runs: Mapping[Name, PretrainRun], arms: Mapping[Name, Arm]) -> Arm:
    """Of those with the same head: the same init, else method, else any or no pretraining."""
    method, same = runs[arm.init].method, (arm.task, arm.head, arm.frozen)

    def alike(other: Arm) -> tuple[bool, ...]:
        its = runs[other.init].method
        pretrained = (its == "random") == (method == "random")
        return other.init == arm.init, its == method, pretrained, other.fusion == arm.fusion

    candidates = [a for a in arms.values() if (a.task, a.head, a.frozen) == same]
    if not candidates:
        raise ValueError(
            f"finetune.lr or finetune.backbone_lr_scale is null, but no arm of the curve does "
            f"{arm.task} with head {arm.head} and frozen {arm.frozen}: give both a value"
        )
    return max(candidates, key=alike)


def _head(task: str, backbone: str) -> Head:
    if task == "classification":
        return "linear"
    return "swin_unet" if backbone.startswith("swin_") else "unet"


def _fusion(head: Head, run: PretrainRun) -> Fusion:
    """Both sensors where the weights are of both."""
    if head == "unet":
        return "early"
    return "late" if len(run.sensors) > 1 else run.sensors[0]
