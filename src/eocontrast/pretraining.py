"""One loop for every contrastive objective; a killed run goes on from its last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from tqdm import tqdm

from eocontrast.augment import epoch_order, generator
from eocontrast.errors import UserError
from eocontrast.health import embedding_health, refuse_collapse, refuse_not_finite
from eocontrast.inputs import Batch, InputSpec
from eocontrast.modalities import Sensor
from eocontrast.patches import PatchStore
from eocontrast.schedules import cosine_schedule
from eocontrast.stops import deferred, stop_if_asked
from eocontrast.subsets import Rows
from eocontrast.training_state import Metrics, TrainingState

HELD_OUT = 256
"""Pairs that are never trained on, to watch the embeddings by; at most a tenth of all."""

COLLAPSE_STEPS = 50
"""Backbones start with a mean cosine of .97 to .999: what has hardly learnt has not collapsed."""


class Objective(Protocol):
    """A module whose forward pass is its loss, and which embeds both views of every place."""

    inputs: Mapping[Sensor, InputSpec]

    def __call__(self, batch: Batch) -> Tensor:
        """Loss of a batch of views, a scalar."""

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views, (B, D) each."""


class Views(Protocol):
    """How an objective's views are made of patches, a function of the draws alone."""

    @property
    def crop(self) -> int:
        """Side of a view in pixels."""

    def __call__(
        self, batch: Batch, inputs: Mapping[Sensor, InputSpec], draws: torch.Generator
    ) -> Batch:
        """Views of patches (B, bands, H, W) a sensor, on their device."""


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, on what."""

    seed: int
    epochs: int
    warmup_epochs: float
    batch_size: int
    groups_per_batch: int
    lr: float
    weight_decay: float


def split_rows(store: PatchStore, seed: int) -> tuple[Rows, Rows]:
    """Rows outside the test split: patches to pretrain on, and pairs to watch the embeddings by."""
    return held_out(store.rows("pretrain", "train"), seed)


def held_out(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Patches to pretrain on, and pairs to watch the embeddings by; disjoint."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    size = min(HELD_OUT, len(rows) // 10)
    return np.sort(shuffled[size:]), np.sort(shuffled[:size])


def in_pieces(order: Rows, groups: NDArray[np.object_], piece: int, seed: int, epoch: int) -> Rows:
    """The same rows with `piece` neighbours of one group in a row, so that they share a batch.

    Negatives from the same scene cannot be told apart by its weather or season: what remains to
    tell them by is the land.

    Args:
        order: rows of the store in random order, (n,).
        groups: group of every row of the store, (N,).
        piece: rows of a group that stay together; where a group ends, the next one begins.
        seed: with `epoch`, of the order of the pieces.
        epoch: of the order of the pieces.
    """
    by_group = order[np.argsort(groups[order], kind="stable")]
    pieces = np.array_split(by_group, range(piece, len(by_group), piece))
    shuffled = epoch_order(len(pieces), seed + 1, epoch).tolist()
    return np.concatenate([pieces[number] for number in shuffled])


def pretrain(
    objective: nn.Module,
    views: Views,
    store: PatchStore,
    schedule: Schedule,
    accelerator: Accelerator,
    checkpoint: Path | None = None,
) -> Iterator[Metrics]:
    """Train `objective` in place on all patches outside the test split; yields metrics an epoch.

    Sample order is a function of (seed, epoch) and augmentation of (seed, step), so a run that
    continues from `checkpoint` ends in the weights of one that was never stopped.

    Args:
        objective: an `Objective`.
        views: what it sees of a patch.
        store: patches; those of the splits pretrain and train are used, without labels.
        schedule: how long and how fast.
        accelerator: device and precision.
        checkpoint: written after every epoch, every few minutes and when a signal asks to stop;
            read at the start where it exists. The caller names it by all that determines the
            result, and removes it.

    Raises:
        UserError: a crop larger than the patches, fewer than two patches, or a damaged checkpoint.
        CollapseError: the loss is not finite or the embeddings collapsed.
        Stopped: a signal asked for that; the checkpoint is written.
    """
    train, watched = split_rows(store, schedule.seed)
    batch_size = min(schedule.batch_size, len(train))
    if views.crop > store.patch_size or batch_size < 2:
        raise UserError(
            f"cannot pretrain on {len(train)} patches of {store.patch_size} px with crops of "
            f"{views.crop} px: at least 2 patches as large as the crop are needed"
        )
    per_epoch = len(train) // batch_size
    state = _new_state(objective, schedule, per_epoch, accelerator, checkpoint)
    inputs = accelerator.unwrap_model(objective).inputs
    draw = _ViewSource(views, inputs, store, schedule.seed, accelerator.device)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
        yield from state.history
    with deferred() if checkpoint else nullcontext():
        for epoch in range(len(state.history), schedule.epochs):
            batches = _batches(train, store, schedule, epoch)
            metrics = _epoch(state, batches, draw, schedule, accelerator)
            metrics |= _watch(state.objective, watched, draw, accelerator)
            warm = epoch + 1 >= schedule.warmup_epochs
            if warm and (epoch + 1) * per_epoch >= COLLAPSE_STEPS and "spread" in metrics:
                refuse_collapse(metrics)
            state.history.append(metrics)
            state.losses.clear()
            state.save()
            yield metrics
            stop_if_asked()


def _batches(train: Rows, store: PatchStore, schedule: Schedule, epoch: int) -> Rows:
    """Rows of the store by step of an epoch, (steps, batch size)."""
    batch_size = min(schedule.batch_size, len(train))
    steps = len(train) // batch_size
    order = train[epoch_order(len(train), schedule.seed, epoch).numpy()]
    if schedule.groups_per_batch:
        piece = max(1, batch_size // schedule.groups_per_batch)
        order = in_pieces(order, store.groups, piece, schedule.seed, epoch)
    batches: Rows = order[: steps * batch_size].reshape(steps, batch_size)
    return batches


def _new_state(
    objective: nn.Module,
    schedule: Schedule,
    per_epoch: int,
    accelerator: Accelerator,
    checkpoint: Path | None,
) -> TrainingState:
    optimizer = AdamW(
        objective.parameters(), schedule.lr, weight_decay=schedule.weight_decay, fused=True
    )
    objective, optimizer = accelerator.prepare(objective, optimizer)
    warmup = round(schedule.warmup_epochs * per_epoch)
    scheduler = cosine_schedule(optimizer, schedule.epochs * per_epoch, warmup)
    kept = checkpoint if accelerator.is_main_process else None
    return TrainingState(objective, optimizer, scheduler, accelerator.device, kept)


@dataclass(frozen=True)
class _ViewSource:
    """Where views come from."""

    views: Views
    inputs: Mapping[Sensor, InputSpec]
    store: PatchStore
    seed: int
    device: torch.device

    def __call__(self, rows: Rows, step: int) -> Batch:
        stored = self.store.batch(rows, self.inputs)
        batch = {s: t.to(self.device, non_blocking=True) for s, t in stored.items()}
        return self.views(batch, self.inputs, generator(self.seed, step))


def _epoch(
    state: TrainingState,
    batches: Rows,
    draw: _ViewSource,
    schedule: Schedule,
    accelerator: Accelerator,
) -> Metrics:
    """Train on what is left of `batches`, (steps, batch size) rows of the store."""
    state.objective.train()
    state.seed(schedule.seed)
    epoch, done, lr = len(state.history), len(state.losses), 0.0
    what = f"epoch {epoch + 1}/{schedule.epochs}"
    for number in tqdm(range(done, len(batches)), what, leave=False, disable=None):
        views = draw(batches[number], epoch * len(batches) + number)
        with accelerator.autocast():
            loss = state.objective(views)
        accelerator.backward(loss)
        lr = float(state.optimizer.param_groups[0]["lr"])
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        state.losses.append(loss.detach())
        if number + 1 < len(batches):  # after the last one the epoch is over
            state.save_if_due()
    mean_loss = float(torch.stack(state.losses).mean())
    refuse_not_finite(mean_loss, (epoch + 1) * len(batches))
    return {"epoch": epoch + 1, "loss": mean_loss, "lr": lr}


def _watch(
    objective: nn.Module, rows: Rows, draw: _ViewSource, accelerator: Accelerator
) -> Metrics:
    """Health of the embeddings of `rows`; nothing can be said of fewer than two."""
    if len(rows) < 2:
        return {}
    objective.eval()
    views = draw(rows, 0)
    with torch.no_grad(), accelerator.autocast():
        return embedding_health(*accelerator.unwrap_model(objective).embed(views))
