"""The schema of params.yaml: every parameter, its bounds, and how the parts must fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from eocontrast.errors import UserError
from eocontrast.modalities import Modality, Units

SourceName = Literal["simulated", "bigearthnet", "manifest"]
Fusion = Literal["s1", "s2", "early", "late"]
"""One sensor alone, both stacked as channels of one backbone, or one backbone each."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
"""Names become files and stage names."""
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A part of params.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataParams(Section):
    """Which source each half of the pipeline reads."""

    pretrain: SourceName
    finetune: SourceName


class SimulatedParams(Section):
    """How many scenes of which size; a scene is scene_size x scene_size adjacent patches."""

    seed: Seed
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    scene_size: Annotated[int, Field(ge=1, le=64)]
    pretrain_scenes: PositiveInt
    train_scenes: PositiveInt
    test_scenes: PositiveInt


class BigEarthNetParams(Section):
    """The pairs that ship with two packages; nothing to choose."""


class ModalityParams(Section):
    """Bands, units and valid range of the user's own rasters."""

    bands: tuple[str, ...]
    units: Units
    valid_range: tuple[float, float]

    def modality(self) -> Modality:
        """The checked modality.

        Raises:
            UserError: no bands, a band twice, or a range that does not rise.
        """
        return Modality(self.bands, self.units, self.valid_range)


class ManifestParams(Section):
    """The user's own pairs. `classes` maps a class name to its value in mask rasters."""

    path: Path
    s1: ModalityParams
    s2: ModalityParams
    classes: dict[str, Annotated[int, Field(ge=0, le=65535)]]


class SourcesParams(Section):
    """One entry a source."""

    simulated: SimulatedParams
    bigearthnet: BigEarthNetParams
    manifest: ManifestParams


class NormaliseParams(Section):
    """How rasters become the patch store."""

    seed: Seed
    test_fraction: Share
    shard_mib: PositiveInt
    max_bad_fraction: Share


class BackboneParams(Section):
    """A timm model name and its keyword arguments."""

    name: str
    options: dict[str, Any]


class RandomRun(Section):
    """No pretraining: the weights come from the seed of the fine-tuning."""

    method: Literal["random"]
    backbone: Name


class DualSimCLRRun(Section):
    """Contrast between the two sensors of one place (P1, section 2.2)."""

    method: Literal["dual_simclr"]
    backbone: Name
    seed: Seed
    epochs: PositiveInt
    warmup_epochs: Annotated[float, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=2)]
    groups_per_batch: Annotated[int, Field(ge=0)]
    crop: PositiveInt
    flips: bool
    lr: PositiveFloat
    weight_decay: Annotated[float, Field(ge=0)]
    temperature: PositiveFloat
    projection_dim: Annotated[int, Field(ge=0)]


PretrainRun = Annotated[RandomRun | DualSimCLRRun, Field(discriminator="method")]


class PretrainParams(Section):
    """One cell a (method, backbone), by name."""

    runs: dict[Name, PretrainRun]


class Recipe(Section):
    """How every point of the curve is trained."""

    task: Literal["single_label"]
    epochs: PositiveInt
    min_steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    crop: PositiveInt
    weight_decay: Annotated[float, Field(ge=0)]
    val_fraction: Annotated[float, Field(ge=0, le=0.5)]


class Arm(Section):
    """One line of the curve: what fine-tuning starts from, what it sees, what may change."""

    init: Name
    fusion: Fusion
    frozen: bool
    lr: PositiveFloat
    backbone_lr_scale: PositiveFloat


class FinetuneParams(Arm):
    """One point of the curve, and the recipe that all points share."""

    fraction: Fraction
    seed: Seed
    recipe: Recipe

    def arm(self) -> Arm:
        """The line of the curve that this point lies on."""
        return Arm.model_validate({name: getattr(self, name) for name in Arm.model_fields})


class LabelCurveParams(Section):
    """The points of the curve and how its intervals are drawn."""

    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    bootstrap_samples: Annotated[int, Field(ge=100)]
    arms: dict[Name, Arm]

    @model_validator(mode="after")
    def _no_point_twice(self) -> LabelCurveParams:
        for name in ("fractions", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"label_curve.{name} names a value twice: {list(values)}")
        return self


class Params(Section):
    """All of params.yaml."""

    precision: Literal["auto", "bf16", "no"]
    data: DataParams
    sources: SourcesParams
    normalise: NormaliseParams
    backbones: dict[Name, BackboneParams]
    pretrain: PretrainParams
    finetune: FinetuneParams
    label_curve: LabelCurveParams

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        for name, run in self.pretrain.runs.items():
            _known(f"pretrain.runs.{name}.backbone", run.backbone, self.backbones)
        self._check_arm("finetune", self.finetune)
        for name, arm in self.label_curve.arms.items():
            self._check_arm(f"label_curve.arms.{name}", arm)
        return self

    def _check_arm(self, where: str, arm: Arm) -> None:
        _known(f"{where}.init", arm.init, self.pretrain.runs)
        pretrained = self.pretrain.runs[arm.init].method != "random"
        if arm.fusion == "early" and pretrained:
            raise ValueError(
                f"{where}: fusion early stacks both sensors in one backbone, but {arm.init} has "
                "one backbone a sensor; use fusion late, or an init of method random"
            )
        if arm.frozen and not pretrained:
            raise ValueError(
                f"{where}: frozen needs a pretrained init, but {arm.init} is of method random"
            )


def _known(where: str, name: str, names: dict[str, Any]) -> None:
    if name not in names:
        raise ValueError(f"{where} is {name!r}, which is none of {sorted(names)}")


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: the file cannot be read, or a parameter is unknown or out of range.
    """
    try:
        raw = YAML(typ="safe").load(path)
    except (OSError, YAMLError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return check_params(raw, str(path))


def check_params(raw: object, where: str = "params.yaml") -> Params:
    """The checked parameters of an already parsed file.

    Raises:
        UserError: names every parameter that is unknown or out of range.
    """
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [_describe(problem) for problem in error.errors()]
        raise UserError(f"{where}: " + "; ".join(lines)) from error


def _describe(problem: ErrorDetails) -> str:
    # the union of methods puts its tag behind the run's name, which is no key of the file
    loc = problem["loc"]
    tagged = loc[:2] == ("pretrain", "runs") and len(loc) > 3
    keys = ".".join(str(key) for key in (loc[:3] + loc[4:] if tagged else loc))
    if problem["type"] == "extra_forbidden":
        return f"{keys} is no parameter"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("value_error", "missing"):
        return f"{keys} is missing" if problem["type"] == "missing" else message
    return f"{keys} is {problem['input']!r}: {message}"
