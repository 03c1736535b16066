"""Types that all sections of params.yaml share."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from eocontrast.runtime.errors import meant

# no hyphen or dot: DVC's keys and `-S a.b=c` are split at dots, and no name may be `from-arm`
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
"""A name of a file and of a stage."""


PositiveInt = Annotated[int, Field(gt=0)]


PositiveFloat = Annotated[float, Field(gt=0)]


Fraction = Annotated[float, Field(gt=0, le=1)]


Share = Annotated[float, Field(ge=0, lt=1)]


# NumPy takes no negative seed
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of params.yaml: frozen, and unknown keys are errors."""

    # forbid: a misspelt optional key would be ignored, unseen
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OneTraining(Section):
    """Weights that are one training at most: they are the same for every seed."""

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """Return one seed."""
        return (0,)

    def alone(self, seed: Seed) -> Self:
        """Return the run itself, whatever the seed."""
        return self


def known_name(where: str, name: str, known: Collection[str]) -> None:
    """Check that a parameter names something that exists.

    Raises:
        ValueError: it does not; names the closest matches, or all there are.
    """
    if name in known:
        return
    listed = ", ".join(sorted(known))
    raise ValueError(f"{where} is {name!r}, which is none of {listed}{meant(name, known)}")


def or_word(word: str) -> BeforeValidator:
    """Read a word of params.yaml as None; `dvc exp run -S` would rewrite each `null` as a blank."""
    return BeforeValidator(lambda value: None if value == word else value)
