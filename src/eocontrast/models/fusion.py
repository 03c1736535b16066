"""Names of the ways to join sensors, and of the heads on backbones."""

from __future__ import annotations

from typing import Literal

from eocontrast.modalities import Sensor

Fusion = Literal["s1", "s2", "early", "late", "scales"]
"""One sensor alone; both stacked as channels of one backbone; one backbone each, joined at the end
or at every scale."""


Head = Literal["linear", "knn", "unet", "upernet", "swin_unet"]
"""A head on the backbones."""


STREAMS: dict[Fusion, tuple[tuple[Sensor, ...], ...]] = {
    "s1": (("s1",),),
    "s2": (("s2",),),
    "early": (("s1", "s2"),),
    "late": (("s1",), ("s2",)),
    "scales": (("s1",), ("s2",)),
}
"""Sensors of each backbone of a fusion."""
