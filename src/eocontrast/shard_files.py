"""Where the files of a patch store lie."""

from __future__ import annotations

from pathlib import Path

KINDS = ("s1", "s2", "label")
"""Of arrays, in the order in which the store's digest has them."""


def shard_path(folder: Path, kind: str, shard: int) -> Path:
    """Where shard number `shard` of `s1`, `s2` or `label` lies."""
    return folder / kind / f"{shard:05d}.npy"


def note_path(folder: Path, shard: int) -> Path:
    """Where a complete shard is described while the store is built."""
    return folder / "shards" / f"{shard:05d}.json"
