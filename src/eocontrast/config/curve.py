"""Schema of the points of the curve, and of its figure of maps."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from eocontrast.config.arms import Arm, Ensemble, TaskKind
from eocontrast.config.headline import HeadlineParams
from eocontrast.config.schema import Fraction, Name, Section, Seed, Share


class LabelCurveParams(Section):
    """The points of the curve and how its intervals are drawn."""

    fractions: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    more_seeds: tuple[Seed, ...]
    """Seeds beside `seeds`, for heads on frozen backbones and for few labels."""
    more_seeds_up_to: Share
    """Largest fraction at which every arm takes `more_seeds`, and not only those heads."""
    # ask for 100: each tail of a 95 % interval then rests on two or three replicates
    bootstrap_samples: Annotated[int, Field(ge=100)]
    arms: dict[Name, Annotated[dict[Name, Arm], Field(min_length=1)]]
    """Arms by the weights that they start from, then by their own names."""
    ensembles: dict[Name, Ensemble]
    headline: dict[TaskKind, HeadlineParams]

    @property
    def named_arms(self) -> dict[Name, Arm]:
        """Return every arm by its own name."""
        return {name: arm for arms in self.arms.values() for name, arm in arms.items()}

    @property
    def members(self) -> dict[Name, tuple[Name, ...]]:
        """Return the arms of every arm (itself) and of every ensemble, by name."""
        pairs = {name: (e.first, e.second) for name, e in self.ensembles.items()}
        return {**{name: (name,) for name in self.named_arms}, **pairs}

    @field_validator("arms", mode="before")
    @classmethod
    def _with_inits(cls, arms: Any) -> Any:  # noqa: ANN401 - not validated yet
        """Tell every arm the weights that it is listed under."""
        if not (isinstance(arms, dict) and all(isinstance(of, dict) for of in arms.values())):
            return arms
        for init, of_init in arms.items():
            for name, arm in of_init.items():
                if isinstance(arm, dict) and arm.get("init", init) != init:
                    raise ValueError(
                        f"label_curve.arms.{init}.{name}.init is {arm['init']!r}, but arms start "
                        "from the weights that they are listed under; list it there, without init"
                    )
        return {
            init: {
                name: {**arm, "init": init} if isinstance(arm, dict) else arm
                for name, arm in of_init.items()
            }
            for init, of_init in arms.items()
        }

    @model_validator(mode="after")
    def _no_arm_twice(self) -> LabelCurveParams:
        # compare over all inits: results are named after the arm alone, as arms/<name>.json
        listed: dict[Name, Name] = {}
        for init, arms in self.arms.items():
            for name in arms:
                if (other := listed.setdefault(name, init)) != init:
                    raise ValueError(
                        f"label_curve.arms.{init} and label_curve.arms.{other} both have an arm "
                        f"{name}; give one another name"
                    )
        return self

    @model_validator(mode="after")
    def _no_point_twice(self) -> LabelCurveParams:
        seeds = (*self.seeds, *self.more_seeds)
        both = "label_curve.seeds and label_curve.more_seeds name"
        for what, values in (("label_curve.fractions names", self.fractions), (both, seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} a value twice: {list(values)}")
        return self

    def seeds_of(self, arm: Arm, fraction: Fraction) -> tuple[Seed, ...]:
        """Return the seeds of a point: heads on frozen features and few labels get more."""
        # the spread over seeds was up to 0.054 mIoU at 10 % of the labels and 0.021 at all of them
        few = fraction <= self.more_seeds_up_to
        return (*self.seeds, *self.more_seeds) if few or arm.on_features else self.seeds

    @property
    def scored_together(self) -> list[tuple[Name, ...]]:
        """Return the names that one pass scores: an arm, or two arms and their ensemble."""
        pairs = [(e.first, e.second, name) for name, e in self.ensembles.items()]
        # members of an ensemble are scored with it: their probabilities are computed once
        paired = {name for pair in pairs for name in pair}
        return [*((arm,) for arm in self.named_arms if arm not in paired), *pairs]


class QualitativeParams(Section):
    """Points of the curve that the figure of maps shows, and its number of patches."""

    fraction: Fraction
    seed: Seed
    patches: Annotated[int, Field(ge=1, le=12)]
    arms: tuple[Name, ...]
    """Arms and ensembles that segment, in the order of the columns."""
