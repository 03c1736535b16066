"""From a label budget to a classifier: one loop for scratch, fine-tuned and frozen arms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from eocontrast.augment import epoch_order, generator, random_view
from eocontrast.classifiers import Classifier
from eocontrast.errors import UserError
from eocontrast.health import refuse_not_finite
from eocontrast.patches import PatchStore, chunks
from eocontrast.schedules import cosine_schedule
from eocontrast.subsets import Rows, hold_out, labelled_subset


@dataclass(frozen=True)
class Budget:
    """The labels that one point may use, and how: rows of the store."""

    train: Rows
    validation: Rows

    @property
    def n_labels(self) -> int:
        """Labels paid for: those trained on and those the model is selected by."""
        return len(self.train) + len(self.validation)


@dataclass(frozen=True)
class Training:
    """How a point is trained."""

    epochs: int
    min_steps: int
    batch_size: int
    weight_decay: float
    lr: float
    backbone_lr_scale: float
    """Backbones learn at lr times this: pretrained ones are to be bent, not broken."""
    seed: int


def label_budget(store: PatchStore, fraction: float, seed: int, val_fraction: float) -> Budget:
    """Draw a label budget from the training split; budgets of one seed are nested.

    Raises:
        UserError: the fraction holds fewer patches than there are classes.
    """
    pool = store.labelled("train")
    rows = pool[labelled_subset(store.labels[pool], fraction, seed)]
    train, validation = hold_out(store.labels[rows], store.groups[rows], val_fraction, seed)
    return Budget(rows[train], rows[validation])


class Inputs(Protocol):
    """What a model is trained on: whole patches, or features of frozen backbones."""

    model: nn.Module

    def logits(self, rows: Rows, draws: torch.Generator | None) -> Tensor:
        """Logits (n, num_classes), float32; of random views where `draws` is given."""


class PatchInputs:
    """Patches, for a classifier that is trained as a whole."""

    def __init__(
        self, classifier: Classifier, store: PatchStore, device: Accelerator, crop: int
    ) -> None:
        if crop > store.patch_size:
            raise UserError(
                f"finetune.recipe.crop is {crop}, but patches have {store.patch_size} pixels a side"
            )
        self.model: nn.Module = classifier
        self.inputs, self.store, self.device = classifier.inputs, store, device
        self.crop = crop

    def logits(self, rows: Rows, draws: torch.Generator | None) -> Tensor:
        """Logits of whole patches, or of random crops, flipped and rotated, by `draws`."""
        batch = self.store.batch(rows, self.inputs)
        batch = {sensor: stored.to(self.device.device) for sensor, stored in batch.items()}
        if draws is not None:
            batch = random_view(batch, self.crop, flips=True, draws=draws)
        with self.device.autocast():
            logits: Tensor = self.model(batch)
        return logits.float()


class FeatureInputs:
    """Features of frozen backbones, computed once, for a head that alone is trained.

    The head is trained on features of zero mean and unit variance, so that one learning rate suits
    every backbone; `fold` then absorbs that scale into the head.
    """

    def __init__(self, head: nn.Linear, features: dict[int, Tensor], train: Rows) -> None:
        self.model: nn.Module = head
        self.features = features
        seen = self._stack(train)
        self.mean = seen.mean(0)
        sd = seen.std(0, correction=0)
        # nothing can be learnt of a feature that these patches never change: it gets no weight
        self.sd = torch.where(sd > 1e-3 * sd.mean(), sd, torch.inf)

    def logits(self, rows: Rows, draws: torch.Generator | None) -> Tensor:
        """Logits of the head; there are no views of a feature."""
        logits: Tensor = self.model((self._stack(rows) - self.mean) / self.sd)
        return logits

    @torch.no_grad()
    def fold(self, head: nn.Linear) -> None:
        """Make `head` give the same logits from features as they come."""
        head.weight.div_(self.sd)
        head.bias.sub_(head.weight @ self.mean)

    def _stack(self, rows: Rows) -> Tensor:
        return torch.stack([self.features[row] for row in rows.tolist()])


def embed(
    classifier: Classifier, store: PatchStore, rows: Rows, device: Accelerator
) -> dict[int, Tensor]:
    """Features of whole patches by row, (num_features,) each, float32 on the CPU."""
    classifier.to(device.device).eval()
    features: dict[int, Tensor] = {}
    for chunk in chunks(rows):
        batch = store.batch(chunk, classifier.inputs)
        batch = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
        with torch.no_grad(), device.autocast():
            found = classifier.features(batch).float().cpu()
        features.update(zip(chunk.tolist(), found, strict=True))
    return features


def fit(
    inputs: Inputs, labels: NDArray[np.int64], budget: Budget, training: Training
) -> Iterator[dict[str, float]]:
    """Minimise cross-entropy in place; yields metrics an epoch.

    The weights that remain are those of the epoch with the lowest validation loss (on ties the
    later), or the last epoch's where the budget holds no validation. The loss, because the accuracy
    of a dozen patches is a lottery that the first epochs often win.

    Args:
        inputs: model and what it sees.
        labels: class index of every row of the store, (N,).
        budget: rows to train on and to select the epoch by.
        training: how long and how fast.

    Raises:
        CollapseError: the loss is not finite.
    """
    model, train = inputs.model, budget.train
    optimizer = torch.optim.AdamW(
        _groups(model, training), weight_decay=training.weight_decay, fused=True
    )
    batch_size = min(training.batch_size, len(train))
    per_epoch = len(train) // batch_size
    epochs = max(training.epochs, math.ceil(training.min_steps / per_epoch))
    scheduler = cosine_schedule(optimizer, epochs * per_epoch, warmup=per_epoch)
    best, best_state = math.inf, None
    for epoch in range(epochs):
        model.train()
        order = epoch_order(len(train), training.seed, epoch).numpy()
        total = 0.0
        for batch in range(per_epoch):
            rows = train[order[batch * batch_size : (batch + 1) * batch_size]]
            draws = generator(training.seed, epoch * per_epoch + batch)
            logits = inputs.logits(rows, draws)
            loss = F.cross_entropy(logits, torch.from_numpy(labels[rows]).to(logits.device))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            scheduler.step()
            total += float(loss.detach())
        refuse_not_finite(total, (epoch + 1) * per_epoch)
        metrics = {"epoch": epoch + 1, "loss": total / per_epoch}
        if len(budget.validation):
            metrics |= validate(inputs, labels, budget.validation)
            if metrics["val_loss"] <= best:
                best = metrics["val_loss"]
                best_state = {name: t.clone() for name, t in model.state_dict().items()}
        yield metrics
    if best_state is not None:
        model.load_state_dict(best_state)


def _groups(model: nn.Module, training: Training) -> list[dict[str, Any]]:
    backbones = [p for name, p in model.named_parameters() if name.startswith("backbones.")]
    others = [p for name, p in model.named_parameters() if not name.startswith("backbones.")]
    scaled = training.lr * training.backbone_lr_scale
    return [{"params": others, "lr": training.lr}, {"params": backbones, "lr": scaled}]


@torch.no_grad()
def validate(inputs: Inputs, labels: NDArray[np.int64], rows: Rows) -> dict[str, float]:
    """Mean cross-entropy on `rows`, and mean recall of the classes that occur among them."""
    inputs.model.eval()
    logits = torch.cat([inputs.logits(chunk, None).cpu() for chunk in chunks(rows)])
    truth = labels[rows]
    hit = logits.argmax(1).numpy() == truth
    return {
        "val_loss": float(F.cross_entropy(logits, torch.from_numpy(truth))),
        "val_AA": float(np.mean([hit[truth == k].mean() for k in np.unique(truth)])),
    }
