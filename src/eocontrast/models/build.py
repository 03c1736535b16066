"""Fine-tuned models: backbones of one init under one of four heads, new or from a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.fusion import STREAMS, Fusion, Head
from eocontrast.models.model import Model
from eocontrast.models.segmenters import SwinUNet, UNet
from eocontrast.models.tasks import TASKS
from eocontrast.models.weights import OTHER_VERSION, REWRITE, Pretrained, load_tensors, load_weights
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError, readable


def new_model(init: Pretrained, header: dict[str, Any]) -> Model:
    """Build a model on the weights of `init`; other weights are drawn from torch's generator.

    Args:
        init: Pretrained backbones; without weights if its method is `random`.
        header: Header of the fine-tuned file: `head`, `fusion`, `classes`, and for neighbours
            `task`, `recipe` and `n_labels`.
    """
    build: dict[Head, Callable[[], Model]] = {
        "linear": lambda: Classifier(_backbones(init, header["fusion"]), len(header["classes"])),
        "knn": lambda: _neighbours(init, header),
        "unet": lambda: _unet(init, header),
        "swin_unet": lambda: SwinUNet(
            _backbones(init, header["fusion"]),
            len(header["classes"]),
            fuse_skips=header["fusion"] == "scales",
        ),
    }
    return build[header["head"]]()


def model_from_header(header: dict[str, Any]) -> Model:
    """Build the model that the header of a fine-tuned file describes, without its weights."""
    specs: dict[Sensor, InputSpec] = {
        sensor: InputSpec.from_dict(fields) for sensor, fields in header["inputs"].items()
    }
    architecture = Architecture(**header["architecture"])
    return new_model(Pretrained("random", architecture, specs, {}, header["data_digest"]), header)


def load_finetuned(file: Path) -> tuple[Model, dict[str, Any]]:
    """Load a fine-tuned model in eval mode, and its header.

    Raises:
        UserError: the file cannot be read, or holds no fine-tuned model.
    """
    tensors, header = load_weights(file)
    if "classes" not in header:
        raise UserError(f"{file} holds no fine-tuned model: fine-tune it first")
    with readable(f"the header of {file} does not fit: {OTHER_VERSION}", REWRITE):
        model = model_from_header(header)
    load_tensors(model, tensors, f"the tensors of {file}")
    return model.eval(), header


def _backbones(init: Pretrained, fusion: Fusion) -> dict[str, Backbone]:
    backbones = {}
    for sensors in STREAMS[fusion]:
        inputs = {sensor: init.specs[sensor] for sensor in sensors}
        single = len(sensors) == 1
        backbone = init.backbone(sensors[0]) if single else Backbone(init.architecture, inputs)
        backbones["_".join(sensors)] = backbone
    return backbones


def _neighbours(init: Pretrained, header: dict[str, Any]) -> NeighbourClassifier:
    recipe = header["recipe"]
    return NeighbourClassifier(
        _backbones(init, header["fusion"]),
        num_labelled=header["n_labels"] - header["n_validation"],
        num_classes=len(header["classes"]),
        neighbours=recipe["neighbours"],
        temperature=recipe["neighbour_temperature"],
        exclusive=TASKS[header["task"]].exclusive,
    )


def _unet(init: Pretrained, header: dict[str, Any]) -> UNet:
    (sensors,) = STREAMS[header["fusion"]]
    inputs = {sensor: init.specs[sensor] for sensor in sensors}
    return UNet(init.architecture, inputs, len(header["classes"]))
