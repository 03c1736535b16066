"""The arms of the label curve: what stands on which weights, and what cannot."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eocontrast.config.pretraining import PretrainRun
from eocontrast.config.schema import Name, PositiveFloat, Section, Share
from eocontrast.modalities import Sensor
from eocontrast.models.fusion import STREAMS, Fusion, Head

_FUSIONS: dict[Head, tuple[Fusion, ...]] = {
    "linear": ("s1", "s2", "early", "late"),
    "knn": ("s1", "s2", "late"),
    "unet": ("s1", "s2", "early"),
    "swin_unet": ("s1", "s2", "late", "scales"),
}


_HEADS: dict[str, tuple[Head, ...]] = {
    "classification": ("linear", "knn"),
    "segmentation": ("unet", "swin_unet"),
}


class CellArm(Section):
    """What an arm adds to its cell: what stands on the weights, what it sees, what may change."""

    head: Head
    fusion: Fusion
    frozen: bool
    lr: PositiveFloat
    backbone_lr_scale: PositiveFloat
    modality_dropout: Share

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What the arm sees."""
        return tuple(sensor for stream in STREAMS[self.fusion] for sensor in stream)


class Arm(CellArm):
    """One line of the curve: what it does, what it starts from, and the rest."""

    task: Literal["classification", "segmentation"]
    init: Name


class Cell(Section):
    """Arms of one task that start from the same weights; a stage trains them together."""

    task: Literal["classification", "segmentation"]
    init: Name
    arms: Annotated[dict[Name, CellArm], Field(min_length=1)]


class Ensemble(Section):
    """Two arms whose class probabilities are averaged; nothing is trained."""

    first: Name
    second: Name


def check_head(where: str, arm: Arm) -> None:
    """A head does its task, on what it can join.

    Raises:
        ValueError: names `where`, what cannot be, and what can.
    """
    if arm.head not in _HEADS[arm.task]:
        raise ValueError(
            f"{where}: head {arm.head} does no {arm.task}; use {' or '.join(_HEADS[arm.task])}"
        )
    if arm.fusion not in _FUSIONS[arm.head]:
        raise ValueError(
            f"{where}: head {arm.head} has no fusion {arm.fusion}; use one of "
            f"{', '.join(_FUSIONS[arm.head])}"
        )
    if arm.head == "knn" and not arm.frozen:
        raise ValueError(f"{where}: head knn trains nothing; set frozen to true")
    if arm.modality_dropout and len(arm.sensors) < 2:
        raise ValueError(
            f"{where}: modality_dropout leaves out one of two sensors, but fusion {arm.fusion} has "
            "one; set it to 0.0"
        )


def check_pretrained(where: str, arm: Arm, run: PretrainRun) -> None:
    """An arm takes from pretrained weights what they have.

    Raises:
        ValueError: names `where`, what cannot be, and what can.
    """
    if arm.head == "unet":
        raise ValueError(
            f"{where}: head unet is the baseline from scratch, but {arm.init} is pretrained; use "
            "an init of method random, or head swin_unet"
        )
    if arm.fusion == "early":
        raise ValueError(
            f"{where}: fusion early stacks both sensors in one backbone, but {arm.init} has "
            "one backbone a sensor; use fusion late, or an init of method random"
        )
    for sensor in arm.sensors:
        if sensor not in run.sensors:
            raise ValueError(
                f"{where}: fusion {arm.fusion} needs {sensor}, but {arm.init} pretrains "
                f"{' and '.join(run.sensors)} alone; use fusion {run.sensors[0]}, or another init"
            )
