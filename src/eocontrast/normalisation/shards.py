"""A shard of the patch store: rows of the manifest, read, encoded and written by one worker.

Shards are written on their own, so any number of workers on any number of machines may write them
in any order, and a killed run continues with those that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from eocontrast.labels import IGNORE_INDEX
from eocontrast.modalities import SENSORS
from eocontrast.normalisation.array_file import ArrayFile, growing
from eocontrast.normalisation.audit import has_error
from eocontrast.normalisation.audited import Audited
from eocontrast.normalisation.pairs import Patch, StoreBands, read_pair
from eocontrast.patches.shard_files import array_crc32, note_path, shard_path
from eocontrast.rasters.open import gdal_settings
from eocontrast.rasters.source import Source
from eocontrast.runtime.files import write_text

Rows = Sequence[dict[str, str]]
"""Of a manifest."""


def audit_rows(
    source: Source, bands: StoreBands, check_shift: bool, number: int, rows: Rows
) -> tuple[int, list[Audited]]:
    """What is to be known of the patches of `rows`, and nothing stored.

    Args:
        source: what the rasters are.
        bands: that count, by sensor.
        check_shift: whether to look for a shift of S1 against S2.
        number: of the piece of the manifest, given back.
        rows: of the manifest.
    """
    with gdal_settings():
        return number, [_audited(read_pair(source, bands, row, check_shift)) for row in rows]


def write_shard(
    source: Source,
    bands: StoreBands,
    check_shift: bool,
    number: int,
    rows: Rows,
    side: int,
    folder: Path,
) -> tuple[int, list[Audited]]:
    """Read, audit, encode and write the patches of `rows`; those with an error are left out.

    Args:
        source: what the rasters are.
        bands: of the store, by sensor.
        check_shift: whether to look for a shift of S1 against S2.
        number: of the shard.
        rows: of the manifest.
        side: of every patch in pixels; one of another size is left out.
        folder: of the store that is built.

    Returns:
        The number, and what is to be known of every row; also left in `folder`, when all is there.
    """
    audited = []
    with gdal_settings(), _Writer(folder, number, side) as writer:
        for row in rows:
            patch = read_pair(source, bands, row, check_shift)
            audited.append(_audited(patch, writer.append(patch) if _fits(patch, side) else None))
    write_text(note_path(folder, number), json.dumps([each.to_dict() for each in audited]))
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


class _Writer:
    """The arrays of one shard, patch by patch: a worker holds the pixels of one patch only."""

    def __init__(self, folder: Path, number: int, side: int) -> None:
        self.folder, self.number, self.side = folder, number, side
        self.masks: list[NDArray[np.integer] | None] = []
        # of patches without a mask, in a shard where others have one: ignored everywhere
        self._nothing = np.full((side, side), IGNORE_INDEX, dtype=np.uint8)
        self._files: dict[str, ArrayFile] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._write_masks()
        self._open.__exit__(kind, error, traceback)

    def append(self, patch: Patch) -> dict[str, int]:
        """Write both sensors' pixels; where they lie, and checksums to tell damage by."""
        for sensor in SENSORS:
            self._file(sensor).append(patch.arrays[sensor])
        self.masks.append(patch.arrays.get("label"))
        mask = array_crc32(patch.arrays.get("label", self._nothing))
        checksums = {f"crc_{sensor}": patch.checksums[sensor] for sensor in SENSORS}
        place = {"shard": self.number, "row": len(self.masks) - 1}
        return {**place, **checksums, "crc_label": mask}

    def _write_masks(self) -> None:
        """No file where no patch has one."""
        if any(mask is not None for mask in self.masks):
            for mask in self.masks:
                self._file("label").append(self._nothing if mask is None else mask)

    def _file(self, kind: str) -> ArrayFile:
        if kind not in self._files:
            path = shard_path(self.folder, kind, self.number)
            self._files[kind] = self._open.enter_context(growing(path))
        return self._files[kind]
