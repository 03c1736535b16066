"""Where the files of a patch store lie, and what tells damage in them."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KINDS = ("s1", "s2", "label")
"""Of arrays, in the order in which the store's digest has them."""


def shard_path(folder: Path, kind: str, shard: int) -> Path:
    """Where shard number `shard` of `s1`, `s2` or `label` lies."""
    return folder / kind / f"{shard:05d}.npy"


def note_path(folder: Path, shard: int) -> Path:
    """Where a complete shard is described while the store is built."""
    return folder / "shards" / f"{shard:05d}.json"


def array_crc32(stored: NDArray[np.integer]) -> int:
    """CRC-32 of a patch's values, which tells damage, not malice, at a GB a second."""
    return zlib.crc32(np.ascontiguousarray(stored).reshape(-1).data)
