"""The catalogue of published weights: names, addresses, digests, licences. Nothing is opened."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from eocontrast.modalities import Sensor
from eocontrast.published.foundation import FOUNDATION
from eocontrast.runtime.errors import UserError, missing_package

UNKNOWN = "unknown"
"""Digest of a file whose publisher gives none."""

OPEN_LICENCES = frozenset({"Apache-2.0", "CC-BY-4.0", "MIT", "ODC-BY"})
"""Licences under which weights may be passed on with the authors' names."""


@dataclass(frozen=True)
class Entry:
    """One published weight file.

    Attributes:
        name: Name in the catalogue.
        sensor: Sensor that the weights take.
        model: Name of the architecture, as `Architecture` takes it.
        options: Its options; `global_pool` is the pooling of a timm model.
        method: Method of pretraining.
        inputs: Key of the expected input in `published.inputs`.
        address: URL, or path on the Hugging Face Hub; `none` if the file has to be at hand.
        sha256: SHA-256 in hex, or its first digits if the publisher gives only these; `unknown`.
        licence: Licence of the weights.
        source: Key of the publication.
        millions: Millions of parameters.
        data: Name of the training data.
        citation: Publication to cite.
    """

    name: str
    sensor: Sensor
    model: str
    options: dict[str, Any]
    method: str
    inputs: str
    address: str
    sha256: str
    licence: str
    source: str
    millions: float
    data: str
    citation: str

    @property
    def file(self) -> str:
        """Return the file's name at its publisher."""
        return f"{self.name}.file" if self.address == "none" else self.address.rpartition("/")[2]

    def url(self, hub: str) -> str:
        """Return the file's URL.

        Args:
            hub: Server of the Hugging Face Hub or of its mirror, without a slash at its end.
        """
        return self.address if "://" in self.address else f"{hub}/{self.address}"

    @property
    def origin(self) -> dict[str, str]:
        """Return what a descendant has to say about these weights."""
        where = "" if self.address == "none" else self.url("https://huggingface.co")
        facts = {"name": self.name, "licence": self.licence, "citation": self.citation}
        return {**facts, "address": where, "data": self.data}


@cache
def catalogue() -> dict[str, Entry]:
    """Return all entries by name."""
    cited = {row["source"]: row for row in _rows("sources.csv")}
    return {row["name"]: _entry(row, cited[row["source"]]) for row in _rows("catalogue.csv")}


def entry(name: str) -> Entry:
    """Return the entry with that name.

    Raises:
        UserError: there is none, or the model needs a package that is not installed or not driven.
    """
    if name in FOUNDATION:
        raise UserError(FOUNDATION[name].refusal(name))
    if name not in catalogue():
        near = get_close_matches(name, [*catalogue(), *FOUNDATION], n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise UserError(
            f"no published weights are called {name!r}: {hint}`eocontrast weights` lists all"
        )
    found = catalogue()[name]
    package = found.model.rpartition(":")[0]
    if package and find_spec(package) is None:
        raise missing_package(name, package, "foundation")
    return found


def _entry(row: dict[str, str], cited: dict[str, str]) -> Entry:
    sensor: Sensor = "s1" if row["sensor"] == "s1" else "s2"
    typed: dict[str, Any] = {
        "options": json.loads(row["options"] or "{}"),
        "sensor": sensor,
        "millions": float(row["millions"]),
    }
    return Entry(**{**row, **typed}, data=cited["data"], citation=cited["citation"])


def _rows(file: str) -> Iterator[dict[str, str]]:
    with files("eocontrast.published").joinpath(file).open(encoding="utf-8") as lines:
        yield from csv.DictReader(lines)
