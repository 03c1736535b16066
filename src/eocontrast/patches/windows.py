"""Windows of the patches of a batch: the part of each that is read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

Part = tuple[slice, slice]
"""Lines and columns of a patch."""


@dataclass(frozen=True)
class Window:
    """A square of each patch of a batch.

    Attributes:
        top: first line in each patch, int64 (n,).
        left: first column in each patch, int64 (n,).
        side: side in pixels.
    """

    top: Tensor
    left: Tensor
    side: int

    def parts(self) -> list[Part]:
        """Return the lines and columns of the window of each patch."""
        corners = zip(self.top.tolist(), self.left.tolist(), strict=True)
        return [
            (slice(top, top + self.side), slice(left, left + self.side)) for top, left in corners
        ]
