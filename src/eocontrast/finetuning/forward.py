"""Heads on frozen backbones: every patch is embedded once, for the whole curve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eocontrast.models.classifiers import Classifier
from eocontrast.models.features import Features
from eocontrast.models.model import drawn_missing
from eocontrast.patches.store import PatchStore, Rows


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
