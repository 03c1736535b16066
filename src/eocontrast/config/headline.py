"""The arms that the headline compares, chosen before their scores are reported."""

from __future__ import annotations

from eocontrast.config.arms import TaskKind
from eocontrast.config.schema import Name, Section

AUTO = "auto"
"""Stands for the arm with the best reported score, which favours the arm that was lucky."""

NONE = "none"
"""Stands for no arm."""


class HeadlineParams(Section):
    """Names of the supervised and the pretrained arm that the headline of a task compares."""

    supervised: Name
    pretrained: Name


AUTOMATIC = HeadlineParams(supervised=AUTO, pretrained=AUTO)


def kind_of(task: str) -> TaskKind:
    """Return the kind of a task, by which params.yaml names the arms of the headline."""
    return "segmentation" if task == "segmentation" else "classification"
