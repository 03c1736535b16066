"""Scene classification on top of backbones: single sensor, early or late fusion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from eocontrast.backbones import Architecture, Backbone
from eocontrast.inputs import Batch, InputSpec
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.params import Fusion
from eocontrast.weights import Pretrained

STREAMS: dict[Fusion, tuple[tuple[Sensor, ...], ...]] = {
    "s1": (("s1",),),
    "s2": (("s2",),),
    "early": (("s1", "s2"),),
    "late": (("s1",), ("s2",)),
}
"""The sensors that each backbone of a fusion sees."""


class Classifier(nn.Module):
    """Pooled features of one or two backbones, concatenated, to class logits by a linear head."""

    def __init__(self, backbones: dict[str, Backbone], num_classes: int) -> None:
        super().__init__()
        self.backbones = nn.ModuleDict(backbones)
        seen = {s: spec for b in backbones.values() for s, spec in b.inputs.items()}
        self.inputs = {sensor: seen[sensor] for sensor in SENSORS if sensor in seen}
        num_features = sum(backbone.num_features for backbone in backbones.values())
        self.head = nn.Linear(num_features, num_classes)

    def features(self, batch: Batch) -> Tensor:
        """Stored integers (B, bands, H, W) a sensor to features (B, num_features)."""
        return torch.cat([backbone(batch) for backbone in self.backbones.values()], dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """Stored integers (B, bands, H, W) a sensor to logits (B, num_classes)."""
        logits: Tensor = self.head(self.features(batch))
        return logits


def new_classifier(init: Pretrained, fusion: Fusion, num_classes: int) -> Classifier:
    """A classifier that starts from `init`; what it does not supply is drawn from the seed."""
    backbones = {}
    for sensors in STREAMS[fusion]:
        specs = {sensor: init.specs[sensor] for sensor in sensors}
        single = len(sensors) == 1
        backbone = init.backbone(sensors[0]) if single else Backbone(init.architecture, specs)
        backbones["_".join(sensors)] = backbone
    return Classifier(backbones, num_classes)


def classifier_from_header(header: dict[str, Any]) -> Classifier:
    """An empty classifier of the shape that a fine-tuned file's header describes."""
    specs: dict[Sensor, InputSpec] = {
        sensor: InputSpec.from_dict(header["inputs"][sensor]) for sensor in SENSORS
    }
    architecture = Architecture(**header["architecture"])
    init = Pretrained("random", architecture, specs, {}, header["data_digest"])
    return new_classifier(init, header["fusion"], len(header["classes"]))
