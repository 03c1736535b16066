"""Tasks: one class per patch, several classes per patch, or one class per pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from eocontrast.labels import IGNORE_INDEX, METRICS
from eocontrast.patches.store import PatchStore

TaskName = Literal["single_label", "multi_label", "segmentation"]


class Loss(Protocol):
    """A mean loss."""

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of logits (B, C, ...) with weights of the classes (C,)."""


@dataclass(frozen=True)
class Task:
    """The loss, the metric and the probabilities of a task.

    Attributes:
        name: Name in the `task` column of the curve.
        metric: Score that arms are compared by.
        exclusive: Whether exactly one class is right.
        loss: Mean loss of logits (B, C, ...) and targets, with or without weights of the classes.
        probabilities: Function from logits (B, C, ...) to probabilities of the same shape.
    """

    name: TaskName
    metric: str
    exclusive: bool
    loss: Loss
    probabilities: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def predict(
        self,
        forward: Callable[[dict[str, Tensor]], Tensor],
        batch: Mapping[str, Tensor],
        device: torch.device,
        autocast: AbstractContextManager[None] | None = None,
    ) -> Tensor:
        """Return the probabilities of a batch in float32, on the device.

        Args:
            forward: Model in eval mode, from tensors by name to logits.
            batch: Tensors by name, on any device.
            device: Device of the model.
            autocast: Precision of the forward pass, float32 by default.
        """
        on_device = {name: tensor.to(device) for name, tensor in batch.items()}
        with autocast or nullcontext():
            logits = forward(on_device)
        # outside of autocast: bfloat16 keeps three digits of a probability
        return self.probabilities(logits.float())


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss over all with a class, weighted by class; 0 if none has one."""
    # one row a pixel, because CUDA sums over images in an order of its own; logarithms before that,
    # because of rows of eight values they take a CPU five times as long
    rows = logits.log_softmax(1).movedim(1, -1).flatten(0, -2)
    classes = targets.flatten().long()
    total = F.nll_loss(rows, classes, weights, ignore_index=IGNORE_INDEX, reduction="sum")
    labelled = classes != IGNORE_INDEX
    if weights is None:
        # a batch without any labelled pixel has the loss 0, not 0 / 0
        return total / labelled.sum().clamp_min(1)
    mass = weights[classes.where(labelled, 0)].where(labelled, 0).sum()
    return total / mass.clamp_min(torch.finfo(mass.dtype).tiny)


def _binary_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean loss over patches and classes; weights are those of the positive labels."""
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights)


def _softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1)


TASKS: dict[TaskName, Task] = {
    "single_label": Task("single_label", METRICS["single_label"], True, _cross_entropy, _softmax),
    "multi_label": Task(
        "multi_label",
        METRICS["multi_label"],
        False,
        _binary_cross_entropy,
        torch.sigmoid,
    ),
    "segmentation": Task("segmentation", METRICS["segmentation"], True, _cross_entropy, _softmax),
}


def patch_targets(store: PatchStore, task: Task) -> Tensor:
    """Return the target of every patch of the store.

    Returns:
        Class indices (N,), -1 for none; or 0 and 1 by class, (N, C), for `multi_label`.
    """
    labels = torch.tensor(store.labels)
    if task.exclusive:
        return labels
    if store.present is None:  # a class name a patch
        return F.one_hot(labels.clamp_min(0), len(store.classes)).float() * (labels >= 0)[:, None]
    return torch.tensor(store.present).float()
