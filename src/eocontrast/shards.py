"""A shard of the patch store: rows of the manifest, read, encoded and written by one worker.

Shards are written on their own, so any number of workers on any number of machines may write them
in any order, and a killed run continues with those that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eocontrast.audit import has_error
from eocontrast.audited import Audited
from eocontrast.disk import whole
from eocontrast.modalities import SENSORS
from eocontrast.pairs import Patch, read_pair
from eocontrast.shard_files import note_path, shard_path
from eocontrast.sources import Source

Rows = Sequence[dict[str, str]]
"""Of a manifest."""


def audit_rows(
    source: Source, check_shift: bool, number: int, rows: Rows
) -> tuple[int, list[Audited]]:
    """What is to be known of the patches of `rows`, and nothing stored.

    Args:
        source: what the rasters are.
        check_shift: whether to look for a shift of S1 against S2.
        number: of the piece of the manifest, given back.
        rows: of the manifest.
    """
    return number, [_audited(read_pair(source, row, check_shift)) for row in rows]


def write_shard(
    source: Source, check_shift: bool, number: int, rows: Rows, side: int, folder: Path
) -> tuple[int, list[Audited]]:
    """Read, audit, encode and write the patches of `rows`; those with an error are left out.

    Args:
        source: what the rasters are.
        check_shift: whether to look for a shift of S1 against S2.
        number: of the shard.
        rows: of the manifest.
        side: of every patch in pixels; one of another size is left out.
        folder: of the store that is built.

    Returns:
        The number, and what is to be known of every row; also left in `folder`, when all is there.
    """
    patches = [read_pair(source, row, check_shift) for row in rows]
    kept = [patch for patch in patches if _fits(patch, side)]
    for kind, arrays in _stacks(kept, side):
        with whole(shard_path(folder, kind, number)) as partial, partial.open("wb") as file:
            np.save(file, arrays, allow_pickle=False)
    places = {patch.id: {"shard": number, "row": row} for row, patch in enumerate(kept)}
    audited = [_audited(patch, places.get(patch.id)) for patch in patches]
    with whole(note_path(folder, number)) as partial:
        partial.write_text(json.dumps([each.to_dict() for each in audited]))
    return number, audited


def known_shard(folder: Path, number: int) -> list[Audited] | None:
    """What `write_shard` left of a shard that is complete; None where it is not."""
    path = note_path(folder, number)
    if not path.exists():
        return None
    return [Audited.from_dict(fields) for fields in json.loads(path.read_text())]


def _fits(patch: Patch, side: int) -> bool:
    return not has_error(patch.findings) and patch.arrays["s2"].shape[1:] == (side, side)


def _audited(patch: Patch, place: dict[str, int] | None = None) -> Audited:
    return Audited(
        id=patch.id,
        split=patch.split,
        findings=patch.findings,
        size=patch.arrays["s2"].shape[1:] if patch.arrays else (),
        digests=patch.digests,
        facts={**patch.facts, **place} if place else {},
        moments=patch.moments if place else {},
    )


def _stacks(patches: Sequence[Patch], side: int) -> Iterator[tuple[str, NDArray[np.integer]]]:
    if not patches:
        return
    for sensor in SENSORS:
        yield sensor, np.stack([patch.arrays[sensor] for patch in patches])
    if any("label" in patch.arrays for patch in patches):
        nothing = np.full((side, side), 255, dtype=np.uint8)
        yield "label", np.stack([p.arrays.get("label", nothing) for p in patches])
