"""The parameters of the source `stac`, which reads pairs from a catalogue."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from eocontrast.config.labels import Classes, LabelsParams
from eocontrast.config.schema import PositiveFloat, PositiveInt, Section, Seed, Share, or_word
from eocontrast.modalities import Units


class CollectionParams(Section):
    """A collection of a STAC API.

    `assets` maps a band to the name of its asset, `headers` a header of HTTP to the environment
    variable that holds its value. `units` are those of the pixels.
    """

    url: Annotated[str, Field(pattern=r"^https?://")]
    collection: str
    assets: dict[str, str]
    units: Units
    scene_classification: Annotated[str | None, or_word("none")]
    signing: Literal["none", "planetary_computer"]
    # name variables, never secrets: params.yaml is committed (docs/place.md)
    headers: dict[str, str]


class OwnCatalogParams(Section):
    """A collection per sensor; both may lie in one API or in two."""

    s1: CollectionParams
    s2: CollectionParams


Preset = Literal["planetary_computer", "earth_search", "earth_search_l2a", "copernicus"]


def _days(text: str) -> tuple[date, date]:
    """Return the first and the last day of a date such as 2023-05-01, or of a month."""
    if re.fullmatch(r"\d{4}-\d\d", text):
        # a month ends on its own last day, February included
        first = date.fromisoformat(f"{text}-01")
        return first, first.replace(day=monthrange(first.year, first.month)[1])
    return date.fromisoformat(text), date.fromisoformat(text)


def _order(dates: tuple[str, ...]) -> tuple[str, ...]:
    ranges = []
    for text in dates:
        try:
            (first, _), (_, last) = (_days(part) for part in text.split("/"))
        except ValueError:
            raise PydanticCustomError(
                "dates",
                "Expected ranges such as 2023-05-01/2023-09-30 or 2023-05/2023-09, found {range}",
                {"range": text},
            ) from None
        if first > last:
            raise PydanticCustomError(
                "dates",
                "Expected ranges that begin before they end, found {range}",
                {"range": text},
            )
        # in the form of STAC's parameter `datetime`, with whole days
        ranges.append(f"{first}/{last}")
    return tuple(ranges)


class StacParams(Section):
    """Pairs from a catalogue: where, when, how many and how clear.

    `max_cloud` is the largest share of a patch without a clear view, and `patches` the most that
    are fetched; those that touch labels come first. Patches of a block of `block_km` form a group.
    `label_collection` is a collection whose classes label every pixel in place of a file, or none.
    """

    catalog: Preset | OwnCatalogParams
    area: Path
    dates: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_order)]
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    orbit: Literal["ascending", "descending"]
    patch_size: Annotated[int, Field(ge=16, le=1024, multiple_of=2)]
    patches: PositiveInt
    max_cloud: Share
    max_days_apart: Annotated[float, Field(ge=0, le=60)]
    block_km: PositiveFloat
    seed: Seed
    classes: Classes
    labels: LabelsParams
    label_collection: str
