"""Which part of each patch of a batch is looked at."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

Part = tuple[slice, slice]
"""Lines and columns of a patch."""


@dataclass(frozen=True)
class Window:
    """A square of each patch of a batch.

    Attributes:
        top: its first line in each, int64 (n,).
        left: its first column in each, int64 (n,).
        side: in pixels.
    """

    top: Tensor
    left: Tensor
    side: int

    def parts(self) -> list[Part]:
        """What it is of each patch."""
        corners = zip(self.top.tolist(), self.left.tolist(), strict=True)
        return [
            (slice(top, top + self.side), slice(left, left + self.side)) for top, left in corners
        ]
