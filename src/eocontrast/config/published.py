"""Published weights in params.yaml: names of the catalogue, and their digests."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from eocontrast.config.schema import OneTraining
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.published.catalogue import UNKNOWN, entry
from eocontrast.runtime.errors import UserError


class PublishedRun(OneTraining):
    """Weights of the catalogue for one sensor or both, joined for late fusion.

    `sha256` pins whole digests of the publishers' files by name in the catalogue.
    """

    s1: str = "none"
    s2: str = "none"
    sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(
        default_factory=dict
    )

    @property
    def method(self) -> Literal["published"]:
        """Return the method that weight files and cards name."""
        return "published"

    @property
    def names(self) -> dict[Sensor, str]:
        """Return the names in the catalogue by sensor."""
        return {s: name for s in SENSORS if (name := getattr(self, s)) != "none"}

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Sensors that have weights."""
        return tuple(self.names)


def check_catalogue(where: str, run: PublishedRun) -> None:
    """Check that the names of a run are in the catalogue, of its sensors, with a digest.

    Raises:
        ValueError: a name is unknown or of another sensor, or a digest is missing.
    """
    if not run.names:
        raise ValueError(f"{where} names no weights: set s1, s2 or both")
    for sensor, name in run.names.items():
        try:
            named = entry(name)
        except UserError as error:
            raise ValueError(f"{where}.{sensor}: {error}") from error
        if named.sensor != sensor:
            raise ValueError(f"{where}.{sensor} is {name}, whose weights are of {named.sensor}")
        # ask the user: some publishers give 8 digits of the hash, others none (docs/weights.md)
        if named.sha256 == UNKNOWN and name not in run.sha256:
            raise ValueError(
                f"{where}.sha256 lacks {name}, whose publisher gives no digest: run "
                f"`eocontrast weights fetch {name} --unverified`, which prints the entry"
            )
    if unused := [name for name in run.sha256 if name not in run.names.values()]:
        raise ValueError(f"{where}.sha256 names {unused[0]}, which is neither its s1 nor its s2")
