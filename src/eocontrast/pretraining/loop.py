"""One loop for every contrastive objective; a killed run goes on from its last checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW
from tqdm import tqdm

from eocontrast.modalities import Sensor
from eocontrast.patches.augment import Draws, Patches, generator
from eocontrast.patches.batch import StoredBatch
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.pretraining.batches import epoch_batches, split_rows
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.signals import deferred, stop_if_asked
from eocontrast.training.batch_statistics import batch_of_all_ranks
from eocontrast.training.checkpoint import Metrics, TrainingState
from eocontrast.training.health import embedding_health, refuse_collapse, refuse_not_finite
from eocontrast.training.ranks import rank, ranks, summed
from eocontrast.training.schedule import cosine_schedule

COLLAPSE_STEPS = 50
"""Backbones start with a mean cosine of .97 to .999: what has hardly learnt has not collapsed."""


class Objective(Protocol):
    """A module whose forward pass is its loss, and which embeds both views of every place.

    On several ranks the mean of their losses is the loss of the whole batch.
    """

    inputs: Mapping[Sensor, InputSpec]

    def __call__(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Loss of a batch of views, a scalar; others of one's own group are no negatives."""

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of both views, (B, D) each."""


class Views(Protocol):
    """How an objective's views are made of patches, a function of the draws alone."""

    @property
    def crop(self) -> int:
        """Side of a view in pixels."""

    def __call__(self, patches: Patches, inputs: Mapping[Sensor, InputSpec], draws: Draws) -> Batch:
        """Views (B, bands, crop, crop) a sensor, or 2B of them, on the patches' device."""


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, on what; nothing of it depends on the number of ranks."""

    seed: int
    epochs: int
    warmup_epochs: float
    batch_size: int
    groups_per_batch: int
    mask_same_group: bool
    lr: float
    weight_decay: float


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
    continues from `checkpoint` ends in the weights of one that was never stopped. Every rank takes
    its share of each batch, and all end in the same weights.

    Args:
        objective: an `Objective`.
        views: what it sees of a patch.
        store: patches; those of the splits pretrain and train are used, without labels.
        schedule: how long and how fast.
        accelerator: device and precision.
        checkpoint: written by the first rank after every epoch, every few minutes and when a signal
            asks to stop; read by all at the start where it exists. The caller names it by all that
            determines the result, and removes it.

    Raises:
        UserError: a crop larger than the patches, fewer than two patches, a batch that ranks cannot
            share evenly, a damaged checkpoint, or ranks that do not see the same one.
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
    _refuse_uneven(batch_size)
    per_epoch = len(train) // batch_size
    piece = schedule.groups_per_batch and max(1, batch_size // schedule.groups_per_batch)
    state = _new_state(objective, schedule, per_epoch, accelerator, checkpoint)
    inputs = accelerator.unwrap_model(objective).inputs
    draw = _ViewSource(views, inputs, store, schedule.seed, accelerator.device)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    _refuse_different(state, per_epoch)
    yield from state.history
    with deferred() if checkpoint else nullcontext():
        for epoch in range(len(state.history), schedule.epochs):
            batches = epoch_batches(train, store.groups, batch_size, piece, schedule.seed, epoch)
            metrics = _epoch(state, batches[:, rank() :: ranks()], draw, schedule, accelerator)
            metrics |= _watch(state.model, watched, draw, accelerator)
            warm = epoch + 1 >= schedule.warmup_epochs
            if warm and (epoch + 1) * per_epoch >= COLLAPSE_STEPS and "spread" in metrics:
                refuse_collapse(metrics)
            state.history.append(metrics)
            state.losses.clear()
            state.save()
            yield metrics
            stop_if_asked()


def _refuse_uneven(batch_size: int) -> None:
    if batch_size % ranks():
        raise UserError(
            f"{ranks()} processes cannot share batches of {batch_size} patches evenly: start a "
            "number of them that divides the batch, or change batch_size"
        )


def _refuse_different(state: TrainingState, per_epoch: int) -> None:
    steps = len(state.history) * per_epoch + len(state.losses)
    if int(summed(torch.tensor(steps, device=state.device))) != steps * ranks():
        raise UserError(
            f"process {rank()} found a checkpoint of {steps} steps, others another one: all "
            "nodes must see one folder of checkpoints, on a disk that they share"
        )


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

    def __call__(self, rows: Rows, step: int, share: tuple[int, int] = (0, 1)) -> Batch:
        """Views of `rows`, which are the share (rank, ranks) of a batch, or all of it."""
        patches = StoredBatch(self.store, rows, self.inputs, self.device)
        return self.views(patches, self.inputs, Draws(generator(self.seed, step), *share))

    def groups(self, rows: Rows) -> Tensor:
        """Number of the group of every row, (B,)."""
        return torch.from_numpy(self.store.group_numbers[rows]).to(self.device)


def _epoch(
    state: TrainingState,
    batches: Rows,
    draw: _ViewSource,
    schedule: Schedule,
    accelerator: Accelerator,
) -> Metrics:
    """Train on what is left of `batches`, (steps, batch size) rows: this rank's share of each."""
    state.model.train()
    epoch, done, lr = len(state.history), len(state.losses), 0.0
    what = f"epoch {epoch + 1}/{schedule.epochs}"
    for number in tqdm(range(done, len(batches)), what, leave=False, disable=None):
        rows, step = batches[number], epoch * len(batches) + number
        # stochastic depth
        torch.manual_seed(generator(schedule.seed, step).initial_seed() + rank())
        views = draw(rows, step, (rank(), ranks()))
        groups = draw.groups(rows) if schedule.mask_same_group else None
        with accelerator.autocast(), batch_of_all_ranks():
            loss = state.model(views, groups)
        accelerator.backward(loss)
        lr = float(state.optimizer.param_groups[0]["lr"])
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        state.losses.append(loss.detach())
        if number + 1 < len(batches):  # after the last one the epoch is over
            state.save_if_due()
    mean_loss = float(summed(torch.stack(state.losses).mean()) / ranks())
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
