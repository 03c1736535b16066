"""Features of frozen backbones, computed once per patch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from eocontrast.models.model import PooledModel, Streams, keep_only
from eocontrast.patches.store import PatchStore, Rows


@dataclass(frozen=True)
class Features:
    """Features of frozen backbones for the patches of a store, float32 on the CPU.

    Attributes:
        place: Position of each row of the store in the streams, (N,).
        streams: Features by backbone, (n, F) each.
        absent: Features of a patch without any data, (1, F) each.
    """

    place: NDArray[np.int64]
    streams: Streams
    absent: Streams

    def of(self, rows: Rows) -> Streams:
        """Return features of these rows of the store by backbone, (len(rows), F) each."""
        at = torch.from_numpy(self.place[rows])
        return {name: features[at] for name, features in self.streams.items()}


def embed(model: PooledModel, store: PatchStore, rows: Rows, device: Accelerator) -> Features:
    """Compute features of whole patches.

    Chunks depend on `rows` alone, since sums differ in the last bit with their size.
    """
    model.to(device.device).eval()
    found = []
    with torch.no_grad(), device.autocast():
        for chunk in store.chunks(rows):
            batch = store.batch(chunk, model.inputs)
            found.append(model.streams({s: t.to(device.device) for s, t in batch.items()}))
        # one patch stands for all: without data they are equal
        empty = keep_only(store.batch(rows[:1], model.inputs), model.inputs, ())
        absent = model.streams({s: t.to(device.device) for s, t in empty.items()})
    place = np.full(len(store.index), -1)
    place[rows] = np.arange(len(rows))
    streams = {name: torch.cat([part[name] for part in found]) for name in model.backbones}
    return Features(place, _on_cpu(streams), _on_cpu(absent))


def _on_cpu(streams: Streams) -> Streams:
    return {name: part.float().cpu() for name, part in streams.items()}
