"""The parameters of backbones and of their pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from eocontrast.config.published import PublishedRun, check_catalogue
from eocontrast.config.schema import (
    Fraction,
    Name,
    OneTraining,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
)
from eocontrast.modalities import SENSORS, Scaling, Sensor
from eocontrast.published.catalogue import entry
from eocontrast.runtime.errors import UserError


class BackboneParams(Section):
    """A model's name (timm's, or mma_vgg), its keyword arguments, and how its inputs are scaled."""

    name: str
    options: dict[str, Any]
    scaling: Scaling


class RandomRun(OneTraining):
    """No pretraining: fine-tuning draws the weights from its seed."""

    method: Literal["random"]
    backbone: Name

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Sensors that an arm may start from: all."""
        return SENSORS


class ContrastiveRun(Section):
    """Parameters that all contrastive methods share.

    Each of the `seeds` is one training, with weights of its own. `init_from` names published
    weights that training continues from: one name, or one a sensor; none draws them.
    """

    backbone: Name
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    epochs: PositiveInt
    warmup_epochs: Annotated[float, Field(ge=0)]
    # ask for 2: a single pair has 2N - 2 = 0 negatives, and its loss is 0 (docs/methods.md)
    batch_size: Annotated[int, Field(ge=2)]
    groups_per_batch: Annotated[int, Field(ge=0)]
    mask_same_group: bool
    crop: PositiveInt
    flips: bool
    lr: PositiveFloat
    weight_decay: Annotated[float, Field(ge=0)]
    temperature: PositiveFloat
    init_from: tuple[str, ...] = ()

    @field_validator("init_from", mode="before")
    @classmethod
    def _as_names(cls, value: Any) -> Any:  # noqa: ANN401 - not validated yet
        """Accept a single name, and `none`."""
        if isinstance(value, str):
            return () if value == "none" else (value,)
        return value

    @property
    def seed(self) -> Seed:
        """Return the first seed."""
        return self.seeds[0]

    def alone(self, seed: Seed) -> Self:
        """Return the run with one of its seeds."""
        return self.model_copy(update={"seeds": (seed,)})

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Sensors that get a backbone."""
        return SENSORS


class SimCLRRun(ContrastiveRun):
    """Contrast of two augmented views of one sensor's image (Chen et al. 2020).

    `bands` are names in the order of the channels; an empty list takes all bands.
    """

    method: Literal["simclr"]
    sensor: Sensor
    bands: tuple[str, ...]
    min_scale: Fraction
    jitter: Annotated[float, Field(ge=0, le=1)]
    projection_dim: Annotated[int, Field(ge=0)]

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The sensor that gets a backbone."""
        return (self.sensor,)


class PairRun(ContrastiveRun):
    """Contrast between the images of both sensors; `shared_crop` gives them the same window."""

    shared_crop: bool


class DualSimCLRRun(PairRun):
    """Contrast between the two sensors of one place (P1, section 2.2)."""

    method: Literal["dual_simclr"]
    projection_dim: Annotated[int, Field(ge=0)]


class MMARun(PairRun):
    """Contrast of both sensors' feature maps at their best offset (Windsor et al. 2021)."""

    method: Literal["mma"]
    max_offset: Annotated[int, Field(ge=0)]


class ImportedRun(OneTraining):
    """Weights trained elsewhere, in a file that `eocontrast import-weights` wrote."""

    method: Literal["imported"]
    backbone: Name
    file: Path
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Sensors that an arm may ask for; reading the file shows which of them it holds."""
        return ("s1", "s2")


PretrainRun = Annotated[
    RandomRun | SimCLRRun | DualSimCLRRun | MMARun | ImportedRun, Field(discriminator="method")
]


Init = RandomRun | SimCLRRun | DualSimCLRRun | MMARun | ImportedRun | PublishedRun
"""Weights that an arm may start from, or none."""


class PretrainParams(Section):
    """Pretraining runs by name: a method on a backbone each; and published weights by name."""

    runs: dict[Name, PretrainRun]
    published: dict[Name, PublishedRun]

    @property
    def inits(self) -> dict[Name, Init]:
        """Return all that an arm may start from, by name."""
        return {**self.runs, **self.published}

    @model_validator(mode="before")
    @classmethod
    def _in_its_section(cls, raw: Any) -> Any:  # noqa: ANN401 - not validated yet
        """Refuse published weights among the runs, which depend on data and backbones."""
        runs = raw.get("runs") if isinstance(raw, dict) else None
        for name, run in runs.items() if isinstance(runs, dict) else ():
            if isinstance(run, dict) and run.get("method") == "published":
                raise ValueError(
                    f"pretrain.runs.{name} is of method published: list it under "
                    f"pretrain.published.{name}, with s1, s2 or both alone"
                )
        return raw

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        for name, run in self.published.items():
            if name in self.runs:
                raise ValueError(f"pretrain.runs and pretrain.published both have {name}")
            check_catalogue(f"pretrain.published.{name}", run)
        return self


def check_run(where: str, run: PretrainRun) -> None:
    """Check that the fields of a run fit together.

    Args:
        where: path of the run in params.yaml, for messages.
        run: the run to check.

    Raises:
        ValueError: two fields contradict each other.
    """
    if isinstance(run, SimCLRRun) and len(set(run.bands)) != len(run.bands):
        raise ValueError(f"{where}.bands names a band twice: {', '.join(run.bands)}")
    if isinstance(run, ContrastiveRun):
        if len(set(run.seeds)) != len(run.seeds):
            raise ValueError(f"{where}.seeds names a seed twice: {list(run.seeds)}")
        _check_start(where, run)
        _check_lengths(where, run)
        _check_groups(f"{where}.groups_per_batch is {run.groups_per_batch}", run)


def _check_start(where: str, run: ContrastiveRun) -> None:
    try:
        starts = [entry(name) for name in run.init_from]
    except UserError as error:
        raise ValueError(f"{where}.init_from: {error}") from error
    for start in starts:
        if ":" in start.model:  # its first layer belongs to a sensor, and its size is fixed
            raise ValueError(
                f"{where}.init_from: pretraining continues from models of timm, and {start.name} "
                "is none; name it under pretrain.published and fine-tune it"
            )
    sensors = [start.sensor for start in starts]
    if run.init_from and sorted(sensors) != sorted(run.sensors):
        raise ValueError(
            f"{where}.init_from names weights of {' and '.join(sensors)}, but the run trains "
            f"{' and '.join(run.sensors)}: name one for each sensor"
        )


def _check_lengths(where: str, run: ContrastiveRun) -> None:
    # the learning rate would never reach its peak
    if run.warmup_epochs > run.epochs:
        raise ValueError(
            f"{where}.warmup_epochs is {run.warmup_epochs:g}, more than the {run.epochs} epochs of "
            "the run"
        )


def _check_groups(what: str, run: ContrastiveRun) -> None:
    if run.groups_per_batch > run.batch_size:
        raise ValueError(f"{what}, more than the {run.batch_size} pairs of a batch")
    # a row without negatives has the loss 0, whatever its embedding
    if run.mask_same_group and run.groups_per_batch == 1:
        raise ValueError(
            f"{what}, which makes batches of one group, and mask_same_group leaves such a batch "
            "without negatives: change one of the two"
        )
