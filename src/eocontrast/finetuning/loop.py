"""From a label budget to a model: one loop for every task, from scratch, fine-tuned or frozen.

A killed run goes on from its last checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eocontrast.finetuning.budgets import Budget
from eocontrast.models.model import Model, drop_sensors
from eocontrast.models.tasks import Task, patch_targets
from eocontrast.patches.augment import Draws, epoch_order, generator, random_view
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.patches.windows import Window
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.signals import deferred
from eocontrast.training.checkpoint import Metrics, TrainingState
from eocontrast.training.health import refuse_not_finite
from eocontrast.training.schedule import cosine_schedule


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
    keep_statistics: bool
    """Whether BatchNorm in the backbones keeps the mean and variance of its pretraining: it saw
    thousands of patches, a label budget holds tens of a few scenes."""
    seed: int


class Inputs(Protocol):
    """What a model is trained on: whole patches, or features of frozen backbones."""

    model: nn.Module
    store: PatchStore

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Logits (n, C, ...), float32, and targets; of random views where `draws` is given."""


class PatchInputs:
    """Patches, for a model that is trained as a whole.

    Raises:
        UserError: the crop is larger than the patches, or there are no masks to segment by.
    """

    def __init__(
        self,
        model: Model,
        store: PatchStore,
        task: Task,
        device: Accelerator,
        crop: int,
        modality_dropout: float,
    ) -> None:
        if crop > store.patch_size:
            raise UserError(
                f"finetune.recipe's crop is {crop}, but patches have {store.patch_size} pixels a "
                "side"
            )
        self.model: nn.Module = model
        self.inputs = model.inputs
        self.store, self.task, self.device = store, task, device
        self.crop, self.modality_dropout = crop, modality_dropout
        self.targets = patch_targets(store, task)

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Logits of whole patches, or of random crops, flipped and rotated, by `draws`."""
        if draws is None:
            batch = self._read(rows)
        else:
            view = random_view(len(rows), self.store.patch_size, self.crop, True, Draws(draws))
            batch = {kind: view(part) for kind, part in self._read(rows, view.window).items()}
            if self.modality_dropout:
                batch = drop_sensors(batch, self.inputs, self.modality_dropout, draws)
        masks = batch.pop("label", None)
        with self.device.autocast():
            logits: Tensor = self.model(batch)
        targets = self.targets[torch.from_numpy(rows)] if masks is None else masks[:, 0]
        return logits.float(), targets.to(logits.device)

    def _read(self, rows: Rows, window: Window | None = None) -> Batch:
        masks = self.task.name == "segmentation"
        stored = self.store.batch(rows, self.inputs, window, masks)
        return {
            kind: part.to(self.device.device, non_blocking=True) for kind, part in stored.items()
        }


def freeze(backbones: nn.Module) -> None:
    """Neither parameters nor BatchNorm statistics of `backbones` change from here on."""
    backbones.requires_grad_(False)


def fit(
    inputs: Inputs,
    task: Task,
    budget: Budget,
    training: Training,
    checkpoint: Path | None = None,
) -> Iterator[Metrics]:
    """Minimise the task's loss in place; yields metrics an epoch.

    The weights that remain are those of the epoch with the lowest validation loss (on ties the
    later), or the last epoch's where the budget holds no validation. The loss, because the accuracy
    of a dozen patches is a lottery that the first epochs often win.

    Args:
        inputs: model and what it sees.
        task: what is learnt.
        budget: rows to train on and to select the epoch by.
        training: how long and how fast.
        checkpoint: written every few minutes and when a signal asks to stop; read at the start
            where it exists. The caller names it by all that determines the result, and removes it.

    Raises:
        CollapseError: the loss is not finite.
        UserError: the checkpoint was damaged.
        Stopped: a signal asked for that; the checkpoint is written.
    """
    train = budget.train
    batch_size = min(training.batch_size, len(train))
    per_epoch = len(train) // batch_size
    epochs = max(training.epochs, math.ceil(training.min_steps / per_epoch))
    state = _new_state(inputs.model, training, epochs, per_epoch, checkpoint)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    yield from state.history
    with deferred() if checkpoint else nullcontext():
        for epoch in range(len(state.history), epochs):
            order = epoch_order(len(train), training.seed, epoch).numpy()
            batches = train[order[: per_epoch * batch_size]].reshape(per_epoch, batch_size)
            metrics = _epoch(state, inputs, task, batches, training)
            if len(budget.validation):
                metrics["val_loss"] = validation_loss(inputs, task, budget.validation)
                state.keep_if_best(metrics["val_loss"])
            state.history.append(metrics)
            state.losses.clear()
            state.save_if_due()
            yield metrics
    if state.best is not None:
        inputs.model.load_state_dict(state.best)


def _new_state(
    model: nn.Module, training: Training, epochs: int, per_epoch: int, checkpoint: Path | None
) -> TrainingState:
    optimizer = torch.optim.AdamW(
        _groups(model, training), weight_decay=training.weight_decay, fused=True
    )
    scheduler = cosine_schedule(optimizer, epochs * per_epoch, warmup=per_epoch)
    device = next(model.parameters()).device
    return TrainingState(model, optimizer, scheduler, device, checkpoint)


def _epoch(
    state: TrainingState, inputs: Inputs, task: Task, batches: Rows, training: Training
) -> Metrics:
    """Train on what is left of `batches`, (steps, batch size) rows."""
    _train_mode(state.model, training.keep_statistics)
    epoch, steps = len(state.history), len(batches)
    for number in range(len(state.losses), steps):
        draws = generator(training.seed, epoch * steps + number)
        loss = task.loss(*inputs.logits(batches[number], draws))
        state.optimizer.zero_grad()
        torch.autograd.backward(loss)
        state.optimizer.step()
        state.scheduler.step()
        state.losses.append(loss.detach())
        state.save_if_due()
    mean_loss = float(torch.stack(state.losses).double().mean())
    refuse_not_finite(mean_loss, (epoch + 1) * steps)
    return {"epoch": epoch + 1, "loss": mean_loss}


def _train_mode(model: nn.Module, keep_statistics: bool) -> None:
    model.train()
    backbones = dict(model.named_children()).get("backbones", nn.ModuleDict())
    if not any(p.requires_grad for p in backbones.parameters()):
        backbones.eval()
    elif keep_statistics:
        for module in backbones.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _groups(model: nn.Module, training: Training) -> list[dict[str, Any]]:
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    backbones = [p for name, p in learning if name.startswith("backbones.")]
    others = [p for name, p in learning if not name.startswith("backbones.")]
    scaled = training.lr * training.backbone_lr_scale
    groups = [{"params": others, "lr": training.lr}, {"params": backbones, "lr": scaled}]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def validation_loss(inputs: Inputs, task: Task, rows: Rows) -> float:
    """Mean loss of whole patches, each chunk weighted by its size."""
    inputs.model.eval()
    losses = [
        float(task.loss(*inputs.logits(chunk, None))) * len(chunk)
        for chunk in inputs.store.chunks(rows)
    ]
    return sum(losses) / len(rows)
