"""The patches of one batch in a store, of which no more is read than is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.patches.windows import Window


@dataclass(frozen=True)
class StoredBatch:
    """Patches that views are made of (`augment.Patches`), on their way to a device.

    A crop of 64 px is a sixteenth of a patch of 256, and the rest need not be copied.

    Attributes:
        store: that holds them.
        rows: positions in its index, (B,).
        inputs: what a model expects.
        device: where its images go.
        masks: whether the class of every pixel comes along, as `label`.
    """

    store: PatchStore
    rows: Rows
    inputs: Mapping[Sensor, InputSpec]
    device: torch.device
    masks: bool = False

    @property
    def size(self) -> int:
        """How many patches."""
        return len(self.rows)

    @property
    def side(self) -> int:
        """Of a patch in pixels."""
        return self.store.patch_size

    @property
    def kinds(self) -> list[str]:
        """What there is of every patch."""
        return [*self.inputs, *(["label"] if self.masks else [])]

    def read(self, kind: str, window: Window | None = None) -> Tensor:
        """Stored integers (B, bands, H, W) of one kind, of all of each patch where None.

        Raises:
            UserError: the store lacks what is asked for, or is damaged.
        """
        if kind == "label":
            stored = self.store.masks(self.rows, window)
        else:
            sensor: Sensor = kind  # type: ignore[assignment]
            stored = self.store.bands(sensor, self.inputs[sensor], self.rows, window)
        return stored.to(self.device, non_blocking=True)

    def whole(self) -> Batch:
        """All of every patch, by kind."""
        return {kind: self.read(kind) for kind in self.kinds}
