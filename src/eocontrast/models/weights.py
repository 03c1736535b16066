"""Pretrained backbones and what they expect, saved and loaded as one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.weight_files import (
    OTHER_VERSION,
    REWRITE,
    load_tensors,
    load_weights,
    save_weights,
)
from eocontrast.patches.agreement import compare_ground
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError, readable
from eocontrast.runtime.files import file_sha256

PUBLISHED = Path("models/published")
"""Folder of converted published weights, `<name>.safetensors` each; no output of a stage."""

Origin = Mapping[str, str]
"""Name, licence, citation, address and SHA-256 of published weights."""


@dataclass(frozen=True)
class Pretrained:
    """Weights that fine-tuning starts from: a backbone per sensor, or none for random ones.

    Attributes:
        method: Method of pretraining; `imported` if it was done elsewhere, `random` for none.
        architecture: Architecture of every backbone.
        specs: Expected input by sensor; a sensor may be missing.
        tensors: Tensors by `<sensor>.<timm's name>`; none for random initialisation.
        digest: Digest of the training data, empty if unknown.
        run: Parameters of the run, or the origin of an imported file.
        patches: Number of training patches, 0 if unknown.
        health: Metrics of the last epoch, rounded.
        data: Name and licence of the training data, empty if unknown.
        others: Architectures of the sensors whose backbone is not `architecture`.
        origins: Published weights that these descend from: name, licence, citation and digest.
    """

    method: str
    architecture: Architecture
    specs: dict[Sensor, InputSpec]
    tensors: dict[str, Tensor]
    digest: str
    run: dict[str, Any] = field(default_factory=dict)
    patches: int = 0
    health: dict[str, float] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    others: dict[Sensor, Architecture] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()

    def architecture_of(self, sensor: Sensor) -> Architecture:
        """Return the architecture of a sensor's backbone."""
        return self.others.get(sensor, self.architecture)

    @property
    def trained(self) -> tuple[Sensor, ...]:
        """Return the sensors with weights."""
        # `s1.conv1.weight`: the first part is the sensor
        prefixes = {name.partition(".")[0] for name in self.tensors}
        return tuple(sensor for sensor in SENSORS if sensor in prefixes)

    def save(self, path: Path) -> None:
        """Write the tensors to `path`, and everything else to its header."""
        header = {
            "method": self.method,
            "architecture": self.architecture.to_dict(),
            "inputs": {sensor: spec.to_dict() for sensor, spec in self.specs.items()},
            "data_digest": self.digest,
            "run": self.run,
            "patches": self.patches,
            "health": self.health,
            "data": self.data,
        }
        if self.others:
            header["others"] = {s: other.to_dict() for s, other in self.others.items()}
        if self.origins:
            header["origins"] = list(self.origins)
        save_weights(path, self.tensors, header)

    @classmethod
    def load(cls, path: Path) -> Pretrained:
        """Invert `save`.

        Raises:
            UserError: the file is missing, damaged or not one of ours.
        """
        tensors, header = load_weights(path)
        if "method" not in header:
            raise UserError(f"{path} holds no pretrained backbones; it lacks {'method'!r}")
        with readable(f"the header of {path} does not fit: {OTHER_VERSION}", REWRITE):
            inputs = header["inputs"]
            return cls(
                method=header["method"],
                architecture=Architecture(**header["architecture"]),
                specs={s: InputSpec.from_dict(inputs[s]) for s in SENSORS if s in inputs},
                tensors=tensors,
                digest=header["data_digest"],
                run=header["run"],
                patches=header["patches"],
                health=header["health"],
                data=header["data"],
                others={s: Architecture(**a) for s, a in header.get("others", {}).items()},
                origins=tuple(header.get("origins", ())),
            )

    def spec(self, sensor: Sensor) -> InputSpec:
        """Return the expected input of a sensor's backbone.

        Raises:
            UserError: there is no such backbone; names those that there are.
        """
        if sensor not in self.specs:
            raise UserError(
                f"there is no backbone of {sensor} among these weights of method {self.method}: "
                f"they are of {' and '.join(self.specs)}"
            )
        return self.specs[sensor]

    def backbone(self, sensor: Sensor) -> Backbone:
        """Build the backbone of a sensor with these weights, or with random ones if there are none.

        Raises:
            UserError: there is no such backbone.
        """
        backbone = Backbone(self.architecture_of(sensor), {sensor: self.spec(sensor)})
        prefix = f"{sensor}."
        state = {n.removeprefix(prefix): t for n, t in self.tensors.items() if n.startswith(prefix)}
        if state:
            load_tensors(backbone.timm, state, f"the weights of {sensor}")
        return backbone


def load_pinned(
    path: Path, sha256: str, architecture: Architecture, data: Mapping[Sensor, InputSpec]
) -> Pretrained:
    """Load weights that parameters name by file and digest, and check that they fit.

    Args:
        path: File that `Pretrained.save` or `eocontrast import-weights` wrote.
        sha256: Digest of the file, in hex.
        architecture: Expected architecture.
        data: Input of the patch store by sensor.

    Raises:
        UserError: digest or architecture differ, the file has no weights, or the data lack bands
            or have other units.
    """
    found = file_sha256(path)
    if found != sha256:
        raise UserError(f"{path} has sha256 {found}, but the run pins {sha256}: which is right?")
    pretrained = Pretrained.load(path)
    if pretrained.architecture != architecture:
        raise UserError(
            f"{path} is a {_described(pretrained.architecture)}, but the run names the backbone "
            f"{_described(architecture)}: make them equal in params.yaml"
        )
    if not pretrained.trained:
        raise UserError(f"{path} holds no weights, for its method is {pretrained.method}")
    for sensor, spec in pretrained.specs.items():
        try:
            spec.channels(data[sensor].modality)
        except UserError as error:
            raise UserError(f"{path} does not suit the data of {sensor}: {error}") from error
    compare_ground(path.name, pretrained.specs, data)
    return pretrained


def _described(architecture: Architecture) -> str:
    return f"{architecture.name} with options {json.dumps(architecture.options, sort_keys=True)}"


def backbone_tensors(backbones: dict[Sensor, Backbone]) -> dict[str, Tensor]:
    """Return the tensors of several backbones by the names of `Pretrained.tensors`."""
    return {
        f"{sensor}.{name}": tensor
        for sensor, backbone in backbones.items()
        for name, tensor in backbone.timm.state_dict().items()
    }
