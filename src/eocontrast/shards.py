"""A shard of the patch store: rows of the manifest, read, encoded and written by one worker.

Shards are written on their own, so any number of workers on any number of machines may write them
in any order, and a killed run continues with those that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.audit import Finding
from eocontrast.disk import whole
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.moments import Moments
from eocontrast.pairs import Patch, check_same_size, read_pair
from eocontrast.shard_files import note_path, shard_path
from eocontrast.sources import Source

Rows = Sequence[dict[str, str]]
"""Of a manifest."""


@dataclass(frozen=True)
class Shard:
    """What is to be known of a shard that was written.

    Attributes:
        facts: a row of the index for every patch in it, in the order of its arrays.
        findings: on all its rows, also those that were left out.
        moments: by sensor, of the patches outside the test split; none where there are none.
    """

    facts: list[dict[str, Any]]
    findings: list[Finding]
    moments: dict[Sensor, Moments]

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        moments = {s: [part.tolist() for part in m.parts] for s, m in self.moments.items()}
        findings = [finding.to_dict() for finding in self.findings]
        text = json.dumps({"facts": self.facts, "findings": findings, "moments": moments})
        with whole(path) as partial:
            partial.write_text(text)

    @classmethod
    def load(cls, path: Path) -> Shard:
        """What `save` wrote; floats come back to the last bit."""
        saved = json.loads(path.read_text())
        moments = {s: Moments(*map(np.array, parts)) for s, parts in saved["moments"].items()}
        return cls(saved["facts"], [Finding(**fields) for fields in saved["findings"]], moments)


def write_shard(
    folder: Path, source: Source, side: int, number: int, rows: Rows
) -> tuple[int, Shard]:
    """Read, audit, encode and write the patches of `rows`; those with an error are left out.

    Args:
        folder: of the store that is built.
        source: what the rasters are.
        side: of every patch in pixels.
        number: of the shard.
        rows: of the manifest.

    Returns:
        The number, and what is to be known of the shard; also written, when its arrays are.

    Raises:
        UserError: a raster cannot be read or has another size.
    """
    findings: list[Finding] = []
    kept: list[Patch] = []
    for row in rows:
        patch = read_pair(source, row)
        findings += patch.findings
        if not any(finding.severity == "error" for finding in patch.findings):
            size = patch.arrays["s2"].shape[1:]
            check_same_size(row["id"], "it", size, "the first patch", (side, side))
            kept.append(patch)
    for kind, arrays in _stacks(kept, side):
        with whole(shard_path(folder, kind, number)) as partial, partial.open("wb") as file:
            np.save(file, arrays, allow_pickle=False)
    facts = [{**p.facts, "shard": number, "row": row} for row, p in enumerate(kept)]
    shard = Shard(facts, findings, _moments(kept))
    shard.save(note_path(folder, number))
    return number, shard


def _moments(patches: Sequence[Patch]) -> dict[Sensor, Moments]:
    known: dict[Sensor, Moments] = {}
    for patch in patches:
        if patch.facts["split"] != "test":  # statistics must not know the test split
            for sensor, moments in patch.moments.items():
                known[sensor] = known[sensor].merge(moments) if sensor in known else moments
    return known


def _stacks(patches: Sequence[Patch], side: int) -> Iterator[tuple[str, NDArray[np.integer]]]:
    if not patches:
        return
    for sensor in SENSORS:
        yield sensor, np.stack([patch.arrays[sensor] for patch in patches])
    if any("label" in patch.arrays for patch in patches):
        nothing = np.full((side, side), 255, dtype=np.uint8)
        yield "label", np.stack([p.arrays.get("label", nothing) for p in patches])
