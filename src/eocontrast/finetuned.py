"""Fine-tuned models without the data that they learnt from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from eocontrast.errors import UserError
from eocontrast.modalities import Sensor
from eocontrast.models import model_from_header
from eocontrast.streams import Model
from eocontrast.weights import load_weights


def load_finetuned(file: Path) -> tuple[Model, dict[str, Any]]:
    """A fine-tuned model in eval mode, and its header.

    Raises:
        UserError: the file is none.
    """
    tensors, header = load_weights(file)
    if "classes" not in header:
        raise UserError(f"{file} holds no fine-tuned model: fine-tune it first")
    model = model_from_header(header)
    model.load_state_dict(tensors)
    return model.eval(), header


def refuse_sensors(model: Model, given: Collection[Sensor]) -> None:
    """A model with a backbone a sensor does with one of them; others need all, and none takes more.

    Raises:
        UserError: images of these sensors do not suit the model.
    """
    takes = " and ".join(model.inputs)
    unknown = [sensor for sensor in given if sensor not in model.inputs]
    if unknown:
        raise UserError(f"this model takes {takes}: leave out --{unknown[0]}")
    if not given:
        raise UserError(f"there is no image: this model takes {takes}")
    missing = [sensor for sensor in model.inputs if sensor not in given]
    if missing and len(model.backbones) < 2:
        raise UserError(
            f"this model takes {takes}, stacked, and cannot do without {missing[0]}: give "
            f"--{missing[0]}, or take a model with a backbone a sensor (fusion late or scales)"
        )
