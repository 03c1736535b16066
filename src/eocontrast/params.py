"""The schema of params.yaml: every parameter, its bounds, and how the parts must fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from eocontrast.errors import UserError
from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C, Modality, Sensor, Units

SourceName = Literal["simulated", "bigearthnet", "sen12ms", "dfc2020", "manifest"]
Season = Literal["spring", "summer", "fall", "winter"]
Split = Literal["pretrain", "train", "test"]
Fusion = Literal["s1", "s2", "early", "late", "scales"]
"""One sensor alone; both stacked as channels of one backbone; one backbone each, joined at the end;
or one each, joined at every scale."""

Head = Literal["linear", "knn", "unet", "swin_unet"]
"""What stands on the backbones."""

STREAMS: dict[Fusion, tuple[tuple[Sensor, ...], ...]] = {
    "s1": (("s1",),),
    "s2": (("s2",),),
    "early": (("s1", "s2"),),
    "late": (("s1",), ("s2",)),
    "scales": (("s1",), ("s2",)),
}
"""The sensors that each backbone of a fusion sees."""

_FUSIONS: dict[Head, tuple[Fusion, ...]] = {
    "linear": ("s1", "s2", "early", "late"),
    "knn": ("s1", "s2", "late"),
    "unet": ("s1", "s2", "early"),
    "swin_unet": ("s1", "s2", "late", "scales"),
}
_HEADS: dict[str, tuple[Head, ...]] = {
    "classification": ("linear", "knn"),
    "segmentation": ("unet", "swin_unet"),
}

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
"""Names become files and stage names."""
PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _refuse_other_lists(value: object) -> object:
    files = value if isinstance(value, dict) else {"test": value}
    known = files and set(files) <= set(get_args(Split))
    if value is None or (known and all(isinstance(x, str | Path) for x in files.values())):
        return value
    # one message, where the union would have one a member
    raise PydanticCustomError(
        "split_lists",
        "Expected null, a file that lists the test patches, or one file a split: pretrain, train, "
        "test",
    )


SplitLists = Annotated[Path | dict[Split, Path] | None, BeforeValidator(_refuse_other_lists)]
"""A list of what is tested on, one list a split, or none."""


class Section(BaseModel):
    """A part of params.yaml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataParams(Section):
    """Which source each half of the pipeline reads; whether unpacked archives stay on the disk."""

    pretrain: SourceName
    finetune: SourceName
    keep_archives: bool


class SimulatedParams(Section):
    """How many scenes of which size; a scene is scene_size x scene_size adjacent patches."""

    seed: Seed
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    scene_size: Annotated[int, Field(ge=1, le=64)]
    pretrain_scenes: PositiveInt
    train_scenes: PositiveInt
    test_scenes: PositiveInt


Address = Annotated[
    str, Field(pattern=r"^(ftp|ftps|http|https)://[^\s]+[^\s/]$", examples=["https://host/folder"])
]
"""Of a folder of archives."""


class BigEarthNetParams(Section):
    """Where the user's reBEN lies; None for the 30 pairs that ship with two packages."""

    path: Path | None


class SEN12MSParams(Section):
    """Where SEN12MS lies, which seasons are read, and what is left out of learning.

    Without a path the archives of these seasons are fetched from `url`; `md5s` is a file with their
    digests in place of the publisher's. `find_overlaps` joins groups that share ground, for which
    every Sentinel-2 raster is read.
    """

    path: Path | None
    url: Address
    md5s: Path | None
    seasons: Annotated[tuple[Season, ...], Field(min_length=1)]
    splits: SplitLists
    find_overlaps: bool

    @model_validator(mode="after")
    def _no_season_twice(self) -> SEN12MSParams:
        if len(set(self.seasons)) != len(self.seasons):
            raise ValueError(f"sources.sen12ms.seasons names one twice: {', '.join(self.seasons)}")
        return self


class DFC2020Params(Section):
    """Where DFC2020 lies, and which of its halves is learnt from; `path` and `url` as of SEN12MS.

    `validation` learns from the 986 patches of that name and tests on the 5,128 called `test`, as
    P2; `test` is the opposite, as P1. `splits` are lists that take the place of the halves, and
    `find_overlaps` makes groups of the patches that share ground.
    """

    path: Path | None
    url: Address
    md5s: Path | None
    train: Literal["validation", "test"]
    splits: SplitLists
    find_overlaps: bool


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

    @field_validator("classes")
    @classmethod
    def _names_are_told_apart(cls, classes: dict[str, int]) -> dict[str, int]:
        for name in classes:
            if "|" in name or name == "none":
                raise ValueError(
                    f"sources.manifest.classes has {name!r}: `|` joins the names of several "
                    "classes, and `none` is a patch without any; use another name"
                )
        return classes


class SourcesParams(Section):
    """One entry a source."""

    simulated: SimulatedParams
    bigearthnet: BigEarthNetParams
    sen12ms: SEN12MSParams
    dfc2020: DFC2020Params
    manifest: ManifestParams


class NormaliseParams(Section):
    """How rasters become the patch store.

    `drop_bands` are left out of every store that has them; `fill_bands` are added as no data to a
    store whose sensor lacks them.
    """

    seed: Seed
    test_fraction: Share
    shard_mib: PositiveInt
    max_bad_fraction: Share
    check_shift: bool
    drop_bands: tuple[str, ...]
    fill_bands: tuple[str, ...]

    @model_validator(mode="after")
    def _never_both(self) -> NormaliseParams:
        both = [band for band in self.fill_bands if band in self.drop_bands]
        if both:
            raise ValueError(
                f"normalise.drop_bands and normalise.fill_bands both name {', '.join(both)}; "
                "take it out of one of the two"
            )
        return self


class BackboneParams(Section):
    """A model's name (timm's, or mma_vgg), its keyword arguments, and how its inputs are scaled."""

    name: str
    options: dict[str, Any]
    # `inputs.Scaling` spelled out, for importing that would import torch
    scaling: Literal["band_statistics", "crop_maximum"]


class RandomRun(Section):
    """No pretraining: the weights come from the seed of the fine-tuning."""

    method: Literal["random"]
    backbone: Name

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Those that an arm may start from: all."""
        return SENSORS


class ContrastiveRun(Section):
    """What all contrastive methods share: how long, how fast, on what."""

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

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Those that get a backbone."""
        return SENSORS


class SimCLRRun(ContrastiveRun):
    """Contrast of two augmented views of one sensor's image (Chen et al. 2020).

    `bands` are names in the order of the channels, none for all that there are.
    """

    method: Literal["simclr"]
    sensor: Sensor
    bands: tuple[str, ...]
    min_scale: Fraction
    jitter: Annotated[float, Field(ge=0, le=1)]
    projection_dim: Annotated[int, Field(ge=0)]

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """The one that gets a backbone."""
        return (self.sensor,)


class DualSimCLRRun(ContrastiveRun):
    """Contrast between the two sensors of one place (P1, section 2.2)."""

    method: Literal["dual_simclr"]
    shared_crop: bool
    projection_dim: Annotated[int, Field(ge=0)]


class MMARun(ContrastiveRun):
    """Contrast of both sensors' feature maps where they align best (Windsor et al. 2021)."""

    method: Literal["mma"]
    shared_crop: bool
    max_offset: Annotated[int, Field(ge=0)]


class ImportedRun(Section):
    """Weights that were trained elsewhere, as `eocontrast import-weights` wrote them."""

    method: Literal["imported"]
    backbone: Name
    file: Path
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Those that an arm may ask for; which of them the file holds is seen when it is read."""
        return ("s1", "s2")


PretrainRun = Annotated[
    RandomRun | SimCLRRun | DualSimCLRRun | MMARun | ImportedRun, Field(discriminator="method")
]


class PretrainParams(Section):
    """One cell a (method, backbone), by name."""

    runs: dict[Name, PretrainRun]


class Recipe(Section):
    """How every point of a task is trained."""

    epochs: PositiveInt
    min_steps: PositiveInt
    batch_size: Annotated[int, Field(ge=2)]
    crop: PositiveInt
    weight_decay: Annotated[float, Field(ge=0)]
    val_fraction: Annotated[float, Field(ge=0, le=0.5)]


class ClassificationRecipe(Recipe):
    """The same of classifiers, what they learn of a patch, and how neighbours vote."""

    labels: Literal["single_label", "multi_label"]
    neighbours: PositiveInt
    neighbour_temperature: PositiveFloat


class Recipes(Section):
    """One recipe a task, shared by all its arms."""

    classification: ClassificationRecipe
    segmentation: Recipe


class CellArm(Section):
    """What an arm adds to its cell: what stands on the weights, what it sees, what may change."""

    head: Head
    fusion: Fusion
    frozen: bool
    lr: PositiveFloat
    backbone_lr_scale: PositiveFloat
    modality_dropout: Share

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """What the arm sees."""
        return tuple(sensor for stream in STREAMS[self.fusion] for sensor in stream)


class Arm(CellArm):
    """One line of the curve: what it does, what it starts from, and the rest."""

    task: Literal["classification", "segmentation"]
    init: Name


class Cell(Section):
    """Arms of one task that start from the same weights; a stage trains them together."""

    task: Literal["classification", "segmentation"]
    init: Name
    arms: Annotated[dict[Name, CellArm], Field(min_length=1)]


class FinetuneParams(Arm):
    """One point of the curve, and the recipes that all points share."""

    fraction: Fraction
    seed: Seed
    recipe: Recipes

    def arm(self) -> Arm:
        """The line of the curve that this point lies on."""
        return Arm.model_validate({name: getattr(self, name) for name in Arm.model_fields})


class Ensemble(Section):
    """Two arms whose class probabilities are averaged; nothing is trained."""

    first: Name
    second: Name


class LabelCurveParams(Section):
    """The points of the curve and how its intervals are drawn."""

    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    bootstrap_samples: Annotated[int, Field(ge=100)]
    cells: dict[Name, Cell]
    ensembles: dict[Name, Ensemble]

    @property
    def arms(self) -> dict[Name, Arm]:
        """Every line of the curve by name, in the order of the cells."""
        return {
            name: Arm(task=cell.task, init=cell.init, **arm.model_dump())
            for cell in self.cells.values()
            for name, arm in cell.arms.items()
        }

    def folder(self, arm: Name) -> str:
        """Where an arm's points lie among the models of the grid."""
        cell = next(name for name, cell in self.cells.items() if arm in cell.arms)
        return f"{cell}/{arm}"

    @model_validator(mode="after")
    def _no_arm_twice(self) -> LabelCurveParams:
        seen: dict[Name, Name] = {}
        for cell, content in self.cells.items():
            for name in content.arms:
                if (other := seen.setdefault(name, cell)) != cell:
                    raise ValueError(
                        f"label_curve.cells.{cell} and label_curve.cells.{other} both have an arm "
                        f"{name}; give one another name"
                    )
        return self

    @model_validator(mode="after")
    def _no_point_twice(self) -> LabelCurveParams:
        for name in ("fractions", "seeds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"label_curve.{name} names a value twice: {list(values)}")
        return self

    def members(self, name: str) -> tuple[str, ...]:
        """Arms whose probabilities are averaged under this name: one's own, or an ensemble's."""
        ensemble = self.ensembles.get(name)
        return (ensemble.first, ensemble.second) if ensemble else (name,)


class QualitativeParams(Section):
    """Which points of the curve are drawn beside the ground truth, and on how many patches."""

    fraction: Fraction
    seed: Seed
    patches: Annotated[int, Field(ge=1, le=12)]
    baseline: Name
    scratch: Name
    finetuned: Name


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
    qualitative: QualitativeParams

    @property
    def fill_bands(self) -> dict[Sensor, tuple[str, ...]]:
        """Those of `normalise.fill_bands`, by the sensor that has a band of that name."""
        wanted, known = self.normalise.fill_bands, _sensor_bands(self.sources.manifest)
        return {s: tuple(b for b in wanted if b in bands) for s, bands in known.items()}

    @model_validator(mode="after")
    def _bands_exist(self) -> Params:
        known = _sensor_bands(self.sources.manifest)
        for field in ("drop_bands", "fill_bands"):
            for band in getattr(self.normalise, field):
                if not any(band in bands for bands in known.values()):
                    named = "; ".join(f"{s}: {', '.join(bands)}" for s, bands in known.items())
                    raise ValueError(
                        f"normalise.{field} names {band}, which is a band of no source; known are "
                        f"{named}"
                    )
        for band in self.normalise.fill_bands:
            if all(band in bands for bands in known.values()):
                raise ValueError(
                    f"normalise.fill_bands names {band}, which both sensors have; rename one in "
                    "sources.manifest"
                )
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Params:
        for name, run in self.pretrain.runs.items():
            _known(f"pretrain.runs.{name}.backbone", run.backbone, self.backbones)
            _check_bands(f"pretrain.runs.{name}.bands", run)
        self._check_arm("finetune", self.finetune)
        for cell, content in self.label_curve.cells.items():
            _known(f"label_curve.cells.{cell}.init", content.init, self.pretrain.runs)
            for name in content.arms:
                where = f"label_curve.cells.{cell}.arms.{name}"
                self._check_arm(where, self.label_curve.arms[name])
        for name, ensemble in self.label_curve.ensembles.items():
            self._check_ensemble(f"label_curve.ensembles.{name}", name, ensemble)
        self._check_qualitative(self.qualitative)
        return self

    def _check_qualitative(self, chosen: QualitativeParams) -> None:
        for field in ("baseline", "scratch", "finetuned"):
            name = getattr(chosen, field)
            _known(f"qualitative.{field}", name, self.label_curve.arms)
            if self.label_curve.arms[name].task != "segmentation":
                raise ValueError(f"qualitative.{field} is {name}, which does no segmentation")
        for field, known in (("fraction", "fractions"), ("seed", "seeds")):
            if getattr(chosen, field) not in getattr(self.label_curve, known):
                raise ValueError(
                    f"qualitative.{field} is {getattr(chosen, field)}, which is none of "
                    f"label_curve.{known}"
                )

    def _check_arm(self, where: str, arm: Arm) -> None:
        _known(f"{where}.init", arm.init, self.pretrain.runs)
        _check_head(where, arm)
        run = self.pretrain.runs[arm.init]
        if run.method != "random":
            _check_pretrained(where, arm, run)
        elif arm.frozen or arm.head == "knn":
            what = "frozen" if arm.frozen else "head knn"
            raise ValueError(
                f"{where}: {what} needs a pretrained init, but {arm.init} is of method random"
            )
        name = self.backbones[run.backbone].name
        if arm.head == "swin_unet" and not name.startswith("swin_"):
            raise ValueError(
                f"{where}: head swin_unet decodes a Swin Transformer, but {arm.init} is a {name}; "
                "use an init whose backbone is a swin_*"
            )

    def _check_ensemble(self, where: str, name: str, ensemble: Ensemble) -> None:
        arms = self.label_curve.arms
        if name in arms:
            raise ValueError(f"{where} has the name of an arm; give it another")
        for field in ("first", "second"):
            _known(f"{where}.{field}", getattr(ensemble, field), arms)
        first, second = (arms[member] for member in (ensemble.first, ensemble.second))
        if first.task != second.task:
            raise ValueError(
                f"{where}: {ensemble.first} does {first.task}, {ensemble.second} {second.task}; "
                "both must do one task"
            )
        if first.sensors != second.sensors:
            raise ValueError(
                f"{where}: {ensemble.first} takes {' and '.join(first.sensors)}, {ensemble.second} "
                f"{' and '.join(second.sensors)}; both must take the same sensors"
            )


def _sensor_bands(own: ManifestParams) -> dict[Sensor, tuple[str, ...]]:
    """Names of the bands that some source has, by sensor."""
    known = {"s1": SENTINEL1.bands + own.s1.bands, "s2": SENTINEL2_L1C.bands + own.s2.bands}
    return {sensor: tuple(dict.fromkeys(known[sensor])) for sensor in SENSORS}


def _check_bands(where: str, run: PretrainRun) -> None:
    if isinstance(run, SimCLRRun) and len(set(run.bands)) != len(run.bands):
        raise ValueError(f"{where} names a band twice: {', '.join(run.bands)}")


def _check_head(where: str, arm: Arm) -> None:
    if arm.head not in _HEADS[arm.task]:
        raise ValueError(
            f"{where}: head {arm.head} does no {arm.task}; use {' or '.join(_HEADS[arm.task])}"
        )
    if arm.fusion not in _FUSIONS[arm.head]:
        raise ValueError(
            f"{where}: head {arm.head} has no fusion {arm.fusion}; use one of "
            f"{', '.join(_FUSIONS[arm.head])}"
        )
    if arm.head == "knn" and not arm.frozen:
        raise ValueError(f"{where}: head knn trains nothing; set frozen to true")
    if arm.modality_dropout and len(arm.sensors) < 2:
        raise ValueError(
            f"{where}: modality_dropout leaves out one of two sensors, but fusion {arm.fusion} has "
            "one; set it to 0.0"
        )


def _check_pretrained(where: str, arm: Arm, run: PretrainRun) -> None:
    if arm.head == "unet":
        raise ValueError(
            f"{where}: head unet is the baseline from scratch, but {arm.init} is pretrained; use "
            "an init of method random, or head swin_unet"
        )
    if arm.fusion == "early":
        raise ValueError(
            f"{where}: fusion early stacks both sensors in one backbone, but {arm.init} has "
            "one backbone a sensor; use fusion late, or an init of method random"
        )
    for sensor in arm.sensors:
        if sensor not in run.sensors:
            raise ValueError(
                f"{where}: fusion {arm.fusion} needs {sensor}, but {arm.init} pretrains "
                f"{' and '.join(run.sensors)} alone; use fusion {run.sensors[0]}, or another init"
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
