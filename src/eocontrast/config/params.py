"""The schema of params.yaml: every parameter, its bounds, and how the parts must fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from eocontrast.config.arms import Arm, Ensemble, TaskKind, check_head, check_init
from eocontrast.config.curve import LabelCurveParams, QualitativeParams
from eocontrast.config.finetuning import FinetuneParams
from eocontrast.config.headline import AUTO, NONE, HeadlineParams
from eocontrast.config.mistakes import in_short, of_values, of_yaml
from eocontrast.config.pretraining import BackboneParams, PretrainParams, check_run
from eocontrast.config.published import PublishedRun
from eocontrast.config.schema import (
    Name,
    PositiveInt,
    Section,
    Seed,
    Share,
    known_name,
)
from eocontrast.config.sources import ManifestParams, SourceName, SourcesParams
from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C, Sensor
from eocontrast.published.catalogue import entry
from eocontrast.runtime.errors import UserError, readable


class DataParams(Section):
    """Sources of pretraining and fine-tuning, and whether unpacked archives are kept."""

    pretrain: SourceName
    finetune: SourceName
    keep_archives: bool


class NormaliseParams(Section):
    """Settings of the patch store.

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


class Params(Section):
    """The parameters of the whole pipeline."""

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
    def single_arm(self) -> Arm:
        """Return the arm of the single run."""
        return self.finetune.chosen_arm(self.label_curve.named_arms)

    @property
    def fill_bands(self) -> dict[Sensor, tuple[str, ...]]:
        """Return `normalise.fill_bands` by the sensor that has a band of that name."""
        wanted, known = self.normalise.fill_bands, _sensor_bands(self.sources.manifest)
        return {s: tuple(b for b in wanted if b in bands) for s, bands in known.items()}

    @model_validator(mode="after")
    def _bands_exist(self) -> Params:
        known = _sensor_bands(self.sources.manifest)
        for field in ("drop_bands", "fill_bands"):
            for band in getattr(self.normalise, field):
                # a typing mistake would otherwise drop nothing, without a word
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
            known_name(f"pretrain.runs.{name}.backbone", run.backbone, self.backbones)
            check_run(f"pretrain.runs.{name}", run)
        for init, arms in self.label_curve.arms.items():
            known_name(f"the init of label_curve.arms.{init}", init, self.pretrain.inits)
            for name, arm in arms.items():
                self._check_arm(f"label_curve.arms.{init}.{name}", arm)
        self._check_arm("finetune", self.single_arm)
        for name, ensemble in self.label_curve.ensembles.items():
            self._check_ensemble(f"label_curve.ensembles.{name}", name, ensemble)
        for kind, headline in self.label_curve.headline.items():
            self._check_headline(f"label_curve.headline.{kind}", kind, headline)
        self._check_qualitative(self.qualitative)
        return self

    def _check_headline(self, where: str, kind: TaskKind, headline: HeadlineParams) -> None:
        curve, known = self.label_curve, self.label_curve.members
        for field in ("supervised", "pretrained"):
            if (name := getattr(headline, field)) in (AUTO, NONE):
                continue
            known_name(f"{where}.{field}", name, known)
            arms = [curve.named_arms[member] for member in known[name]]
            # an ensemble is supervised only if no member was pretrained
            random = all(self.pretrain.inits[arm.init].method == "random" for arm in arms)
            # a headline that compares two pretrained arms, or two tasks, answers nothing
            if arms[0].task != kind or random != (field == "supervised"):
                raise ValueError(
                    f"{where}.{field} is {name}, which is no {field} arm of {kind}; name another, "
                    f"{AUTO} or {NONE}"
                )

    def _check_qualitative(self, chosen: QualitativeParams) -> None:
        members = self.label_curve.members
        for name in chosen.arms:
            known_name("qualitative.arms", name, members)
            if self.label_curve.named_arms[members[name][0]].task != "segmentation":
                raise ValueError(f"qualitative.arms has {name}, which does no segmentation")
        if len(set(chosen.arms)) < len(chosen.arms):
            raise ValueError("qualitative.arms names one twice; name each once")
        for field, known in (("fraction", "fractions"), ("seed", "seeds")):
            # allow points of the curve alone: the figure shows models that were trained for it
            if getattr(chosen, field) not in getattr(self.label_curve, known):
                raise ValueError(
                    f"qualitative.{field} is {getattr(chosen, field)}, which is none of "
                    f"label_curve.{known}"
                )

    def _check_arm(self, where: str, arm: Arm) -> None:
        known_name(f"{where}.init", arm.init, self.pretrain.inits)
        check_head(where, arm)
        run = self.pretrain.inits[arm.init]
        if isinstance(run, PublishedRun):
            models = [entry(run.names[s]).model for s in arm.sensors if s in run.names]
        else:
            models = [self.backbones[run.backbone].name]
        check_init(where, arm, run, models)

    def _check_ensemble(self, where: str, name: str, ensemble: Ensemble) -> None:
        arms = self.label_curve.named_arms
        if name in arms:
            raise ValueError(f"{where} has the name of an arm; give it another")
        for field in ("first", "second"):
            known_name(f"{where}.{field}", getattr(ensemble, field), arms)
        first, second = (arms[member] for member in (ensemble.first, ensemble.second))
        if first.task != second.task:
            raise ValueError(
                f"{where}: {ensemble.first} does {first.task}, {ensemble.second} {second.task}; "
                "both must do one task"
            )
        # probabilities are averaged with all sensors, so both must have seen the same
        if first.sensors != second.sensors:
            raise ValueError(
                f"{where}: {ensemble.first} takes {' and '.join(first.sensors)}, {ensemble.second} "
                f"{' and '.join(second.sensors)}; both must take the same sensors"
            )


def _sensor_bands(own: ManifestParams) -> dict[Sensor, tuple[str, ...]]:
    """Return the names of all bands that some source has, by sensor."""
    known = {"s1": SENTINEL1.bands + own.s1.bands, "s2": SENTINEL2_L1C.bands + own.s2.bands}
    return {sensor: tuple(dict.fromkeys(known[sensor])) for sensor in SENSORS}


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml.

    Raises:
        UserError: the file cannot be read, or a parameter is unknown or out of range.
    """
    # load as safe: no tag of the file can then build a Python object
    return check_params(read_yaml(path, YAML(typ="safe", pure=True)), str(path))


def read_yaml(path: Path, yaml: YAML) -> object:
    """Read a YAML file.

    Raises:
        UserError: the file cannot be read, or is not YAML.
    """
    if not path.exists():
        raise UserError(
            f"{path}: no such file; run this in the project's folder, or correct the path"
        )
    with readable(f"{path} cannot be read", "is it YAML a few levels deep?"):
        try:
            return yaml.load(path)
        except YAMLError as error:
            raise UserError(f"{path}{of_yaml(error)}") from error


def check_params(raw: object, where: str = "params.yaml") -> Params:
    """Check the parameters of a parsed file.

    Raises:
        UserError: names every parameter that is unknown or out of range.
    """
    if not isinstance(raw, dict):
        found = "is empty" if raw is None else f"is {in_short(raw)}"
        needed = ", ".join(Params.model_fields)
        raise UserError(f"{where} {found}, which has none of the sections that it needs: {needed}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{where}: {of_values(error, raw)}") from error
