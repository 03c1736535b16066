"""Heads on frozen backbones: every patch is embedded once, for the whole curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from eocontrast.classifiers import Classifier
from eocontrast.missing import drawn_missing, keep_only
from eocontrast.patches import PatchStore
from eocontrast.streams import PooledModel, Streams
from eocontrast.subsets import Rows


@dataclass(frozen=True)
class Features:
    """What frozen backbones say of the patches of a store, float32 on the CPU.

    Attributes:
        place: where each row of the store stands in the streams, (N,).
        streams: features by backbone, (n, F) each.
        absent: what a backbone says of a patch without any data, (1, F) each.
    """

    place: NDArray[np.int64]
    streams: Streams
    absent: Streams

    def of(self, rows: Rows) -> Streams:
        """Features of these rows of the store, (len(rows), F) a backbone."""
        at = torch.from_numpy(self.place[rows])
        return {name: features[at] for name, features in self.streams.items()}


def embed(model: PooledModel, store: PatchStore, rows: Rows, device: Accelerator) -> Features:
    """Features of whole patches; chunks depend on `rows` alone, as sums differ with their size."""
    model.to(device.device).eval()
    found = []
    with torch.no_grad(), device.autocast():
        for chunk in store.chunks(rows):
            batch = store.batch(chunk, model.inputs)
            found.append(model.streams({s: t.to(device.device) for s, t in batch.items()}))
        empty = keep_only(store.batch(rows[:1], model.inputs), model.inputs, ())
        absent = model.streams({s: t.to(device.device) for s, t in empty.items()})
    place = np.full(len(store.index), -1)
    place[rows] = np.arange(len(rows))
    streams = {name: torch.cat([part[name] for part in found]) for name in model.backbones}
    return Features(place, _on_cpu(streams), _on_cpu(absent))


def _on_cpu(streams: Streams) -> Streams:
    return {name: part.float().cpu() for name, part in streams.items()}


class FeatureInputs:
    """Features for a linear head that alone is trained.

    The head is trained on features of zero mean and unit variance, so that one learning rate suits
    every backbone; `fold` then absorbs that scale into the head.
    """

    def __init__(
        self,
        classifier: Classifier,
        store: PatchStore,
        features: Features,
        targets: Tensor,
        train: Rows,
        modality_dropout: float,
    ) -> None:
        self.model: nn.Module = classifier.head
        self.sensors, self.store = classifier.inputs, store
        self.features, self.targets = features, targets
        self.modality_dropout = modality_dropout
        seen = torch.cat(list(features.of(train).values()), dim=1)
        self.mean = seen.mean(0)
        sd = seen.std(0, correction=0)
        # nothing can be learnt of a feature that these patches never change: it gets no weight
        self.sd = torch.where(sd > 1e-3 * sd.mean(), sd, torch.inf)

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Logits of the head, and targets; a feature has no views, but a sensor may be missing."""
        streams = self.features.of(rows)
        if draws is not None and self.modality_dropout:
            lost = drawn_missing(len(rows), self.sensors, self.modality_dropout, draws)
            streams = {
                name: torch.where(lost[name][:, None], self.features.absent[name], part)
                for name, part in streams.items()
            }
        joined = torch.cat(list(streams.values()), dim=1)
        logits: Tensor = self.model((joined - self.mean) / self.sd)
        return logits, self.targets[torch.from_numpy(rows)]

    @torch.no_grad()
    def fold(self, head: nn.Linear) -> None:
        """Make `head` give the same logits from features as they come."""
        head.weight.div_(self.sd)
        head.bias.sub_(head.weight @ self.mean)
