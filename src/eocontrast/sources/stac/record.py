"""Outcome of a patch, kept as JSON beside its rasters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """Outcome of one patch.

    Attributes:
        id: Name of the patch.
        cause: Reason why it is left out; empty if it was written.
        s1: Items of Sentinel-1.
        s2: Items of Sentinel-2.
        s1_time: Time of Sentinel-1's observation.
        s2_time: Time of Sentinel-2's observation.
        days_apart: Days between the two.
        unclear: Share of pixels without a clear view.
        offsets: Decision on the offset by item of Sentinel-2.
    """

    id: str
    cause: str = ""
    s1: list[str] = field(default_factory=list)
    s2: list[str] = field(default_factory=list)
    s1_time: str = ""
    s2_time: str = ""
    days_apart: float = 0.0
    unclear: float = 0.0
    offsets: dict[str, dict[str, Any]] = field(default_factory=dict)
