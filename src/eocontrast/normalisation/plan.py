"""The division of a manifest into shards, before any pixel is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eocontrast.normalisation.pairs import StoreBands
from eocontrast.normalisation.shards import Rows
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import Source
from eocontrast.runtime.files import code_sha256


@dataclass(frozen=True)
class Plan:
    """Rows of each shard, a function of the manifest alone.

    Attributes:
        first: Id of the first patch whose size can be read.
        side: Side of that patch, and of all others, in pixels.
        patch_bytes: Bytes of the largest patch in the store.
        shards: Rows by number of the shard.
    """

    first: str
    side: int
    patch_bytes: int
    shards: tuple[Rows, ...]

    def digest(self, manifests: Path) -> str:
        """Return a digest of everything that decides the shards, including the code."""
        told = hashlib.sha256(repr((self, code_sha256())).encode())
        for file in sorted(manifests.iterdir()):
            if file.is_file():
                told.update(file.read_bytes())
        return told.hexdigest()


def plan_shards(source: Source, bands: StoreBands, shard_mib: int) -> Plan:
    """Divide the rows of a manifest into shards of at most `shard_mib` per sensor."""
    rows = [{str(k): v for k, v in row.items()} for row in source.manifest.to_dict("records")]
    first, side = _first_square(source, rows)
    stored = [kept.modality for kept in bands.values()]
    pixel = [len(m.bands) * np.dtype(m.storage.dtype).itemsize for m in stored]
    # by the sensor with the larger patch: both have the same rows in a shard
    count = max(1, -(-shard_mib * 2**20 // (max(pixel) * side**2)))
    pieces = tuple(rows[start : start + count] for start in range(0, len(rows), count))
    return Plan(first, side, (sum(pixel) + 1) * side**2, pieces)  # 1 for the mask


def _first_square(source: Source, rows: Rows) -> tuple[str, int]:
    """Return the id and the side of the first square patch that can be read."""
    for row in rows:
        try:
            height, width = bands_size(
                (source.rasters or Path()) / row["s2"], source.s2, source.declared("s2")
            )
        except RasterError:  # becomes a finding when it is read
            continue
        if height == width:
            return row["id"], height
    return rows[0]["id"], 1  # each of them has an error
