"""Scene classification on top of backbones: a linear head, or a vote of labelled neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eocontrast.models.backbones import Backbone
from eocontrast.models.model import PooledModel, Streams


class Classifier(PooledModel):
    """A linear head on the concatenated features of one or two backbones."""

    def __init__(self, backbones: dict[str, Backbone], num_classes: int) -> None:
        super().__init__(backbones)
        self.head = nn.Linear(self.num_features, num_classes)

    def join(self, streams: Streams) -> Tensor:
        """Return logits (B, num_classes) of the features of all backbones."""
        logits: Tensor = self.head(torch.cat([streams[name] for name in self.backbones], dim=1))
        return logits


class NeighbourClassifier(PooledModel):
    """A vote of the nearest labelled patches, weighted by exp(cosine / temperature).

    Nothing is trained: the score shows what the embeddings hold (Wu et al. 2018, section 3.4).
    Features are normalised by backbone, so that both sensors count alike.
    """

    bank: Tensor
    votes: Tensor

    def __init__(
        self,
        backbones: dict[str, Backbone],
        num_labelled: int,
        num_classes: int,
        neighbours: int,
        temperature: float,
        exclusive: bool,
    ) -> None:
        super().__init__(backbones)
        self.neighbours, self.temperature = neighbours, temperature
        self.exclusive = exclusive
        self.register_buffer("bank", torch.zeros(num_labelled, self.num_features))
        self.register_buffer("votes", torch.zeros(num_labelled, num_classes))

    def remember(self, streams: Streams, votes_NC: Tensor) -> None:
        """Store the features of labelled patches, and 1 for each of their classes."""
        self.bank, self.votes = self._embed(streams), votes_NC.float()

    def join(self, streams: Streams) -> Tensor:
        """Return logits (B, num_classes): logarithms of the shares of the vote."""
        # neighbours differ by less than bfloat16 tells apart: next to 1 its steps are 0.004
        with torch.autocast(self.bank.device.type, enabled=False):
            return self._vote(streams)

    def _vote(self, streams: Streams) -> Tensor:
        cosines, nearest = (self._embed(streams) @ self.bank.T).topk(
            min(self.neighbours, len(self.bank)), dim=1
        )
        weights_BK = (cosines / self.temperature).softmax(1)
        # clamped, because a class that no neighbour has would have a logit of minus infinity
        share_BC = torch.einsum("bk,bkc->bc", weights_BK, self.votes[nearest]).clamp(1e-6, 1 - 1e-6)
        return share_BC.log() if self.exclusive else share_BC.logit()

    def _embed(self, streams: Streams) -> Tensor:
        parts = [F.normalize(streams[name].float(), dim=1) for name in self.backbones]
        return F.normalize(torch.cat(parts, dim=1), dim=1)
