"""The header of a fine-tuned weight file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture
from eocontrast.models.fusion import Fusion, Head
from eocontrast.models.tasks import TASKS, Task, TaskName
from eocontrast.models.weight_files import load_weights
from eocontrast.models.weights import Origin
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

FORMAT = 2
"""Version of the header. Files without one were written before it had a version."""


@dataclass(frozen=True)
class FinetunedSpec:
    """A description that suffices to rebuild and use a fine-tuned model without its data.

    Attributes:
        task: What the model was trained for.
        head: What stands on the backbones; `ensemble` for the mean of several models.
        fusion: How the sensors are joined.
        init: Name of the weights that fine-tuning started from.
        method: How those were pretrained, `random` if they were not.
        pretrained_digest: Digest of the patch store that they were pretrained on.
        frozen: Whether the backbones stayed as they were.
        lr: Learning rate of the head.
        backbone_lr_scale: Learning rate of the backbones, as a multiple of `lr`.
        modality_dropout: Share of training samples that lost one of two sensors.
        recipe: Parameters that all arms of the task share, as in params.yaml.
        fraction: Share of the training labels.
        seed: Seed of the label subset, of new parameters and of the order of samples.
        n_labels: Labelled patches paid for, those for validation included.
        n_pixels: Labelled pixels in their masks, 0 without masks.
        n_validation: Labelled patches that selected the epoch.
        architecture: timm's name and options of every backbone.
        inputs: What the model expects of each sensor. The patch size is that of the patches it
            was fine-tuned on.
        classes: Names of the classes in the order of the logits.
        palette: Colour of each class as `#rrggbb`.
        data: Name and licence of the data.
        data_digest: Digest of the patch store that it was fine-tuned on.
        others: Architectures of the sensors whose backbone is not `architecture`.
        origins: Published weights that it descends from, as in `Pretrained`.
        pretraining_seed: Seed of the pretraining that it started from.
        n_shapes: Polygons or points that the labels were drawn as, 0 if they are no such shapes.
    """

    task: TaskName
    head: Head | Literal["ensemble"]
    fusion: Fusion
    init: str
    method: str
    pretrained_digest: str
    frozen: bool
    lr: float
    backbone_lr_scale: float
    modality_dropout: float
    recipe: Mapping[str, Any]
    fraction: float
    seed: int
    n_labels: int
    n_pixels: int
    n_validation: int
    architecture: Architecture
    inputs: Mapping[Sensor, InputSpec]
    classes: tuple[str, ...]
    palette: Mapping[str, str]
    data: Mapping[str, str]
    data_digest: str
    others: Mapping[Sensor, Architecture] = field(default_factory=dict)
    origins: tuple[Origin, ...] = ()
    pretraining_seed: int = 0
    n_shapes: int = 0

    @property
    def learning(self) -> Task:
        """Return the loss, the metric and the probabilities of the task."""
        return TASKS[self.task]

    @property
    def on_features(self) -> bool:
        """Return whether only a head was trained, on features that are computed once."""
        return self.frozen and self.task != "segmentation"

    @classmethod
    def load(cls, file: Path) -> FinetunedSpec:
        """Read the header of a weight file.

        Raises:
            UserError: the file is missing, damaged, of another version or no fine-tuned model.
        """
        return cls.from_dict(load_weights(file)[1], str(file))

    def to_dict(self) -> dict[str, Any]:
        """Return the header as JSON can hold it."""
        inputs = {sensor: spec.to_dict() for sensor, spec in self.inputs.items()}
        fields = {**asdict(self), "inputs": inputs, "classes": list(self.classes)}
        fields["origins"] = list(self.origins)
        unset = [name for name in ("others", "origins", "n_shapes") if not fields[name]]
        return {"format": FORMAT, **{n: value for n, value in fields.items() if n not in unset}}

    @classmethod
    def from_dict(cls, header: Mapping[str, Any], file: str) -> FinetunedSpec:
        """Invert `to_dict`.

        Args:
            header: Content of the weight file's header.
            file: Name of the file for messages.

        Raises:
            UserError: the file holds no fine-tuned model, or one of another version.
        """
        if "classes" not in header:
            raise UserError(f"{file} holds no fine-tuned model: fine-tune it first")
        if (found := header.get("format", 1)) != FORMAT:
            raise UserError(
                f"{file} has a header of format {found}; this version of eocontrast reads format "
                f"{FORMAT}. Fine-tune again with `dvc repro`, or use the version that wrote it"
            )
        fields = {name: value for name, value in header.items() if name != "format"}
        inputs = fields["inputs"]
        fields["inputs"] = {s: InputSpec.from_dict(inputs[s]) for s in SENSORS if s in inputs}
        fields["architecture"] = Architecture(**fields["architecture"])
        others = fields.get("others", {})
        fields["others"] = {s: Architecture(**others[s]) for s in SENSORS if s in others}
        fields["origins"] = tuple(fields.get("origins", ()))
        fields["classes"] = tuple(fields["classes"])
        return cls(**fields)
