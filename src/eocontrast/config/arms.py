"""The arms of the label curve: what each of them trains, and which combinations are possible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from eocontrast.config.pretraining import Init
from eocontrast.config.schema import Name, PositiveFloat, Section, Share
from eocontrast.modalities import Sensor
from eocontrast.models.fusion import STREAMS, Fusion, Head

TaskKind = Literal["classification", "segmentation"]

FUSIONS: dict[Head, tuple[Fusion, ...]] = {
    # leave out scales: a linear layer on joined maps is the same function as late (docs/methods.md)
    "linear": ("s1", "s2", "early", "late"),
    # not early: stacked sensors share one backbone, which no pretraining here trains
    "knn": ("s1", "s2", "late"),
    "unet": ("s1", "s2", "early", "late", "scales"),
    "upernet": ("s1", "s2", "early", "late", "scales"),
    # not early: as published, one encoder per sensor (P2)
    "swin_unet": ("s1", "s2", "late", "scales"),
}
"""Fusions that each head supports."""

HEADS: dict[TaskKind, tuple[Head, ...]] = {
    "classification": ("linear", "knn"),
    "segmentation": ("linear", "unet", "upernet", "swin_unet"),
}


# include torchgeo's: CROMA, DOFA and Copernicus-FM are plain ViTs (docs/weights.md)
_ONE_SIZE = ("vit_", "torchgeo:")
"""Starts of names of models whose maps have one size."""


class Arm(Section):
    """One line of the label curve.

    params.yaml lists arms under the weights that they start from, so `init` is no key there.
    """

    init: Name
    task: TaskKind
    head: Head
    fusion: Fusion
    frozen: bool
    lr: PositiveFloat
    backbone_lr_scale: PositiveFloat
    modality_dropout: Share

    @property
    def on_features(self) -> bool:
        """Return whether only a head is trained, on features that are computed once."""
        return self.frozen and self.task == "classification"

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Return the sensors that the arm uses."""
        return tuple(sensor for stream in STREAMS[self.fusion] for sensor in stream)


class Ensemble(Section):
    """Two arms whose class probabilities are averaged; nothing is trained."""

    first: Name
    second: Name


def check_head(where: str, arm: Arm) -> None:
    """Check that a head suits the task and the fusion.

    Raises:
        ValueError: names `where`, what is impossible and what is possible.
    """
    if arm.head not in HEADS[arm.task]:
        raise ValueError(
            f"{where}: head {arm.head} does no {arm.task}; use {' or '.join(HEADS[arm.task])}"
        )
    if arm.fusion not in FUSIONS[arm.head]:
        raise ValueError(
            f"{where}: head {arm.head} has no fusion {arm.fusion}; use one of "
            f"{', '.join(FUSIONS[arm.head])}"
        )
    # Wu et al. 2018, section 3.4: the vote shows what the embeddings hold by themselves
    if arm.head == "knn" and not arm.frozen:
        raise ValueError(f"{where}: head knn trains nothing; set frozen to true")
    if arm.modality_dropout and len(arm.sensors) < 2:
        raise ValueError(
            f"{where}: modality_dropout leaves out one of two sensors, but fusion {arm.fusion} has "
            "one; set it to 0.0"
        )


def check_init(where: str, arm: Arm, run: Init, models: Sequence[str]) -> None:
    """Check that an arm can start from the weights of a pretraining run.

    Args:
        where: Key of the arm in params.yaml.
        arm: The arm.
        run: The run that it starts from.
        models: timm's names of that run's backbones.

    Raises:
        ValueError: names `where`, what is impossible and what is possible.
    """
    if run.method != "random":
        _check_pretrained(where, arm, run)
    # frozen random weights would be scored as if they were a method
    elif arm.frozen or arm.head == "knn":
        what = "frozen" if arm.frozen else "head knn"
        raise ValueError(
            f"{where}: {what} needs a pretrained init, but {arm.init} is of method random"
        )
    # maps of two architectures differ in stride and channels at each scale
    if arm.fusion == "scales" and len({*models}) > 1:
        raise ValueError(
            f"{where}: fusion scales joins maps of one architecture, but {arm.init} has "
            f"{' and '.join(models)}; use fusion late"
        )
    if arm.head == "unet" and any(model.startswith(_ONE_SIZE) for model in models):
        raise ValueError(
            f"{where}: head unet needs maps that halve from stage to stage, but {arm.init} has a "
            "plain Vision Transformer, whose maps are of one size; use head upernet or linear"
        )
    # refuse others: the decoder mirrors Swin's stages and joins their tokens (Cao et al. 2021)
    if arm.head == "swin_unet" and not all(model.startswith("swin_") for model in models):
        raise ValueError(
            f"{where}: head swin_unet decodes a Swin Transformer, but {arm.init} is a "
            f"{' and '.join(models)}; "
            "use an init whose backbone is a swin_*"
        )


def _check_pretrained(where: str, arm: Arm, run: Init) -> None:
    if arm.fusion == "early":
        raise ValueError(
            f"{where}: fusion early stacks both sensors in one backbone, but {arm.init} has "
            "one backbone per sensor; use fusion late, or an init of method random"
        )
    for sensor in arm.sensors:
        if sensor not in run.sensors:
            raise ValueError(
                f"{where}: fusion {arm.fusion} needs {sensor}, but {arm.init} pretrains "
                f"{' and '.join(run.sensors)} alone; use fusion {run.sensors[0]}, or another init"
            )
