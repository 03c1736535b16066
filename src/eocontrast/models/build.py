"""What is fine-tuned: backbones of one init under one of four heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.fusion import STREAMS, Fusion, Head
from eocontrast.models.model import Model
from eocontrast.models.segmenters import SwinUNet, UNet
from eocontrast.models.tasks import TASKS
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec


def new_model(init: Pretrained, header: dict[str, Any]) -> Model:
    """A model that starts from `init`; what that does not supply is drawn from the seed.

    Args:
        init: backbones, or none of method random.
        header: of the fine-tuned file: `head`, `fusion`, `classes`, and for neighbours `task`,
            `recipe` and `n_labels`.
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
    """An empty model of the shape that a fine-tuned file's header describes."""
    specs: dict[Sensor, InputSpec] = {
        sensor: InputSpec.from_dict(fields) for sensor, fields in header["inputs"].items()
    }
    architecture = Architecture(**header["architecture"])
    return new_model(Pretrained("random", architecture, specs, {}, header["data_digest"]), header)


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
