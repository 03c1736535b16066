"""Patches whose pixels a test has made."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.patches.inputs import Batch
from eocontrast.patches.windows import Window


@dataclass(frozen=True)
class InMemory:
    """Whole images by kind, (B, bands, side, side) each, as `augment.Patches`."""

    images: Batch

    @property
    def size(self) -> int:
        return len(next(iter(self.images.values())))

    @property
    def side(self) -> int:
        return next(iter(self.images.values())).shape[-1]

    @property
    def kinds(self) -> list[str]:
        return list(self.images)

    def read(self, kind: str, window: Window) -> Tensor:
        parts = zip(self.images[kind], window.top.tolist(), window.left.tolist(), strict=True)
        side = window.side
        return torch.stack([image[:, y : y + side, x : x + side] for image, y, x in parts])
