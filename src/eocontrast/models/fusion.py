"""How sensors are joined, and the heads on top of backbones."""

from __future__ import annotations

from typing import Literal

from eocontrast.modalities import Sensor

Fusion = Literal["s1", "s2", "early", "late", "scales"]
"""One sensor alone; both stacked as channels of one backbone; one backbone each, joined at the end;
or one each, joined at every scale."""


Head = Literal["linear", "knn", "unet", "swin_unet"]
"""What stands on the backbones."""


STREAMS: dict[Fusion, tuple[tuple[Sensor, ...], ...]] = {
    "s1": (("s1",),),
    "s2": (("s2",),),
    "early": (("s1", "s2"),),
    "late": (("s1",), ("s2",)),
    "scales": (("s1",), ("s2",)),
}
"""The sensors that each backbone of a fusion sees."""
