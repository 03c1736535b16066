"""Weights as safetensors, with all that is needed to use them in the file's header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from eocontrast.backbones import Architecture, Backbone
from eocontrast.errors import UserError
from eocontrast.inputs import InputSpec
from eocontrast.modalities import SENSORS, Sensor

_HEADER = "eocontrast"


def save_weights(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header atomically; equal content gives equal bytes."""
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    save_file(contiguous, partial, metadata={_HEADER: json.dumps(header, sort_keys=True)})
    partial.replace(path)


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a file that `save_weights` wrote.

    Raises:
        UserError: the file is missing, damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as weights ({error}): run the stage that writes it again, "
            "`dvc repro -f -s <stage>`"
        ) from error
    if header is None:
        raise UserError(f"{path} is a safetensors file without eocontrast's header")
    return tensors, json.loads(header)


@dataclass(frozen=True)
class Pretrained:
    """What fine-tuning starts from: one backbone a sensor, or none for random initialisation."""

    method: str
    architecture: Architecture
    specs: dict[Sensor, InputSpec]
    tensors: dict[str, Tensor]
    digest: str

    def save(self, path: Path) -> None:
        """Write to `path`; tensors are named `<sensor>.<timm's name>`."""
        header = {
            "method": self.method,
            "architecture": self.architecture.to_dict(),
            "inputs": {sensor: spec.to_dict() for sensor, spec in self.specs.items()},
            "data_digest": self.digest,
        }
        save_weights(path, self.tensors, header)

    @classmethod
    def load(cls, path: Path) -> Pretrained:
        """Inverse of `save`.

        Raises:
            UserError: the file is missing, damaged or not one of ours.
        """
        tensors, header = load_weights(path)
        if "method" not in header:
            raise UserError(f"{path} holds no pretrained backbones; it lacks {'method'!r}")
        architecture = Architecture(**header["architecture"])
        specs: dict[Sensor, InputSpec] = {
            sensor: InputSpec.from_dict(header["inputs"][sensor]) for sensor in SENSORS
        }
        return cls(header["method"], architecture, specs, tensors, header["data_digest"])

    def backbone(self, sensor: Sensor) -> Backbone:
        """The backbone of a sensor with these weights; drawn anew for a method without any."""
        backbone = Backbone(self.architecture, {sensor: self.specs[sensor]})
        prefix = f"{sensor}."
        state = {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}
        if state:
            backbone.timm.load_state_dict(state)
        return backbone


def backbone_tensors(backbones: dict[Sensor, Backbone]) -> dict[str, Tensor]:
    """Tensors of several backbones as `Pretrained` names them."""
    return {
        f"{sensor}.{name}": tensor
        for sensor, backbone in backbones.items()
        for name, tensor in backbone.timm.state_dict().items()
    }
