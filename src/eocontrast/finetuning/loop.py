"""The training loop of every task, from scratch, fine-tuned or on frozen backbones."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eocontrast.config.arms import Arm
from eocontrast.config.finetuning import Recipe
from eocontrast.finetuning.budgets import Budget
from eocontrast.finetuning.forward import Inputs
from eocontrast.finetuning.weights import balanced_weights
from eocontrast.models.tasks import Task
from eocontrast.patches.augment import epoch_order, generator
from eocontrast.patches.store import Rows
from eocontrast.training.checkpoint import Metrics
from eocontrast.training.health import refuse_not_finite
from eocontrast.training.schedule import cosine_schedule


def freeze(backbones: nn.Module) -> None:
    """Keep parameters and BatchNorm statistics of `backbones` as they are."""
    backbones.requires_grad_(False)


def fit(
    inputs: Inputs,
    task: Task,
    budget: Budget,
    arm: Arm,
    recipe: Recipe,
    seed: int,
    keep_statistics: bool,
) -> list[Metrics]:
    """Minimise the loss of a task in place and return the metrics of each epoch.

    The weights that remain are those of the epoch with the lowest validation loss (the later one
    on ties), or of the last epoch if the budget holds no validation. Selecting by loss is more
    reliable than by accuracy: the accuracy of a dozen patches is often best by chance, early on.

    Args:
        inputs: The model and the patches or features it is trained on.
        task: The task.
        budget: Rows to train on and rows to select the epoch by.
        arm: Learning rates.
        recipe: Epochs, batch size and weight decay.
        seed: Seed of the order of samples and of random views.
        keep_statistics: Whether BatchNorm in the backbones keeps the mean and variance of its
            pretraining: it saw thousands of patches, a label budget holds tens from a few scenes.

    Raises:
        CollapseError: the loss is not finite.
    """
    train = budget.train
    weights = None
    if recipe.class_weights == "balanced":
        weights = balanced_weights(inputs.store, task, train)
    batch_size = min(recipe.batch_size, len(train))
    per_epoch = len(train) // batch_size
    # few labels are few batches: without a least number of steps a small budget is hardly trained
    epochs = max(recipe.epochs, math.ceil(recipe.min_steps / per_epoch))
    groups = _parameter_groups(inputs.model, arm.lr, arm.lr * arm.backbone_lr_scale)
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay, fused=True)
    scheduler = cosine_schedule(optimizer, epochs * per_epoch, warmup=per_epoch)
    history: list[Metrics] = []
    lowest, best = math.inf, None
    for epoch in range(epochs):
        order = epoch_order(len(train), seed, epoch).numpy()
        # a last, smaller batch is left out; the next epoch leaves out others
        batches = train[order[: per_epoch * batch_size]].reshape(per_epoch, batch_size)
        _train_mode(inputs.model, keep_statistics)
        losses = []
        for number, rows in enumerate(batches, epoch * per_epoch):
            loss = _loss(inputs, task, weights, rows, generator(seed, number))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            scheduler.step()
            losses.append(loss.detach())
        mean_loss = float(torch.stack(losses).double().mean())
        refuse_not_finite(mean_loss, (epoch + 1) * per_epoch)
        metrics = {"epoch": epoch + 1, "loss": mean_loss}
        if len(budget.validation):
            metrics["val_loss"] = validation_loss(inputs, task, budget.validation, weights)
            if metrics["val_loss"] <= lowest:
                lowest, best = metrics["val_loss"], _copied(inputs.model)
        history.append(metrics)
    if best is not None:
        inputs.model.load_state_dict(best)
    return history


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _train_mode(model: nn.Module, keep_statistics: bool) -> None:
    model.train()
    backbones = dict(model.named_children()).get("backbones", nn.ModuleDict())
    # frozen means the same features in every step: no dropout, no new statistics
    if not any(p.requires_grad for p in backbones.parameters()):
        backbones.eval()
    elif keep_statistics:
        for module in backbones.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def _parameter_groups(model: nn.Module, lr: float, backbone_lr: float) -> list[dict[str, Any]]:
    """Give backbones a learning rate of their own: a high one would undo their pretraining."""
    learning = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    backbones = [p for name, p in learning if name.startswith("backbones.")]
    others = [p for name, p in learning if not name.startswith("backbones.")]
    groups = [{"params": others, "lr": lr}, {"params": backbones, "lr": backbone_lr}]
    return [group for group in groups if group["params"]]


@torch.no_grad()
def validation_loss(inputs: Inputs, task: Task, rows: Rows, weights: Tensor | None = None) -> float:
    """Return the mean loss of whole patches, each chunk weighted by its size."""
    inputs.model.eval()
    losses = [
        float(_loss(inputs, task, weights, chunk)) * len(chunk)
        for chunk in inputs.store.chunks(rows)
    ]
    return sum(losses) / len(rows)


def _loss(
    inputs: Inputs,
    task: Task,
    weights: Tensor | None,
    rows: Rows,
    draws: torch.Generator | None = None,
) -> Tensor:
    logits, targets = inputs.logits(rows, draws)
    return task.loss(logits, targets, None if weights is None else weights.to(logits.device))
