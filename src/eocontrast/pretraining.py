"""One loop for every contrastive objective."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from eocontrast.augment import epoch_order, generator, random_view
from eocontrast.errors import UserError
from eocontrast.health import embedding_health, refuse_collapse, refuse_not_finite
from eocontrast.inputs import Batch
from eocontrast.patches import PatchStore
from eocontrast.schedules import cosine_schedule
from eocontrast.subsets import Rows

HELD_OUT = 256
"""Pairs that are never trained on, to watch the embeddings by; at most a tenth of all."""


class Objective(Protocol):
    """A module whose forward pass is its loss, and which embeds both sensors."""

    def __call__(self, batch: Batch) -> Tensor:
        """Loss of a batch of pairs, a scalar."""

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both sensors, (B, D) each."""


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, on what."""

    seed: int
    epochs: int
    warmup_epochs: float
    batch_size: int
    crop: int
    flips: bool
    lr: float
    weight_decay: float


def held_out(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Patches to pretrain on, and pairs to watch the embeddings by; disjoint."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    size = min(HELD_OUT, len(rows) // 10)
    return np.sort(shuffled[size:]), np.sort(shuffled[:size])


def pretrain(
    objective: torch.nn.Module, store: PatchStore, schedule: Schedule, accelerator: Accelerator
) -> Iterator[dict[str, float]]:
    """Train `objective` in place on all patches outside the test split; yields metrics an epoch.

    Sample order is a function of (seed, epoch) and augmentation of (seed, step).

    Raises:
        UserError: a crop larger than the patches, or fewer than two patches.
        CollapseError: the loss is not finite or the embeddings collapsed.
    """
    train, watched = held_out(store.rows("pretrain", "train"), schedule.seed)
    batch_size = min(schedule.batch_size, len(train))
    if schedule.crop > store.patch_size or batch_size < 2:
        raise UserError(
            f"cannot pretrain on {len(train)} patches of {store.patch_size} px with crops of "
            f"{schedule.crop} px: at least 2 patches as large as the crop are needed"
        )
    optimizer = torch.optim.AdamW(
        objective.parameters(), schedule.lr, weight_decay=schedule.weight_decay
    )
    objective, optimizer = accelerator.prepare(objective, optimizer)
    per_epoch = len(train) // batch_size
    warmup = round(schedule.warmup_epochs * per_epoch)
    scheduler = cosine_schedule(optimizer, schedule.epochs * per_epoch, warmup)
    bar = tqdm(total=schedule.epochs * per_epoch, desc="pretrain", disable=None)
    for epoch in range(schedule.epochs):
        objective.train()
        order = epoch_order(len(train), schedule.seed, epoch).numpy()
        losses = []
        for batch in range(per_epoch):
            step = epoch * per_epoch + batch
            rows = train[order[batch * batch_size : (batch + 1) * batch_size]]
            views = _views(store, rows, schedule, step, accelerator)
            with accelerator.autocast():
                loss = objective(views)
            accelerator.backward(loss)
            optimizer.step()
            lr = float(scheduler.get_last_lr()[0])
            scheduler.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
            bar.update()
        mean_loss = float(torch.stack(losses).mean())
        refuse_not_finite(mean_loss, (epoch + 1) * per_epoch)
        health = _watch(objective, store, watched, schedule, accelerator)
        yield {"epoch": epoch + 1, "loss": mean_loss, "lr": lr, **health}
    bar.close()


def _views(
    store: PatchStore, rows: Rows, schedule: Schedule, step: int, accelerator: Accelerator
) -> Batch:
    batch = {s: t.to(accelerator.device, non_blocking=True) for s, t in store.batch(rows).items()}
    return random_view(batch, schedule.crop, schedule.flips, generator(schedule.seed, step))


def _watch(
    objective: torch.nn.Module,
    store: PatchStore,
    rows: Rows,
    schedule: Schedule,
    accelerator: Accelerator,
) -> dict[str, float]:
    if len(rows) < 2:
        return {}
    objective.eval()
    views = _views(store, rows, schedule, 0, accelerator)
    with torch.no_grad(), accelerator.autocast():
        health = embedding_health(*accelerator.unwrap_model(objective).embed(views))
    refuse_collapse(health)
    return health
