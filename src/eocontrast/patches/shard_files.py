"""Paths of the arrays of a patch store; no torch here, because workers import this module."""

from __future__ import annotations

from pathlib import Path


def shard_path(folder: Path, kind: str, shard: int) -> Path:
    """Return the path of shard number `shard` of `s1`, `s2` or `label`."""
    return folder / kind / f"{shard:05d}.npy"
