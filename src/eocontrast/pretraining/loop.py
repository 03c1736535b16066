"""The training loop of every contrastive objective; a killed run resumes from its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW
from tqdm import tqdm

from eocontrast.config.pretraining import ContrastiveRun
from eocontrast.modalities import Sensor
from eocontrast.patches.augment import Draws, View, generator
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.pretraining.batches import epoch_batches, split_rows
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.signals import deferred, stop_if_asked
from eocontrast.training.checkpoint import Metrics, TrainingState
from eocontrast.training.health import embedding_health, refuse_collapse, refuse_not_finite
from eocontrast.training.ranks import rank, ranks, share_batch_statistics, summed
from eocontrast.training.schedule import cosine_schedule

COLLAPSE_STEPS = 50
"""First step at which a collapse is refused; backbones start with mean cosines of 0.97 to 0.999."""


class Objective(Protocol):
    """A module whose forward pass returns its loss, and which embeds both views of every place.

    On several ranks the mean of their losses is the loss of the whole batch.
    """

    inputs: Mapping[Sensor, InputSpec]

    def __call__(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        """Return the loss of a batch of views, a scalar; places of one group are no negatives."""

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the embeddings of both views, (B, D) each."""


class Views(Protocol):
    """Views of a batch of patches for an objective."""

    def windows(
        self, inputs: Mapping[Sensor, InputSpec], size: int, side: int, draws: Draws
    ) -> Mapping[Sensor, View]:
        """Draw the views of `size` patches of `side` pixels, of each sensor B or 2B.

        If there are 2B, the first view of every patch comes before any second one.
        """


def pretrain(
    objective: nn.Module,
    views: Views,
    store: PatchStore,
    run: ContrastiveRun,
    accelerator: Accelerator,
    checkpoint: Path | None = None,
) -> Iterator[Metrics]:
    """Train `objective` in place on all patches outside the test split; yield metrics every epoch.

    The order of samples is a function of (seed, epoch) and augmentation of (seed, step). A run that
    resumes from `checkpoint` therefore ends in the weights of one that was never stopped. Every
    rank takes its share of each batch, and all end in the same weights.

    Args:
        objective: an `Objective`.
        views: what it sees of each patch.
        store: patches; those of the splits pretrain and train are used, without labels.
        run: how long, how fast, on which crops and batches.
        accelerator: device and precision.
        checkpoint: written by the first rank after every epoch, every few minutes and when a signal
            asks to stop; read by all ranks at the start if it exists. The caller names it by all
            that determines the result, and removes it.

    Raises:
        UserError: a crop larger than the patches, fewer than two patches, a batch that ranks cannot
            share evenly, a damaged checkpoint, or ranks that do not see the same one.
        CollapseError: the loss is not finite, or the embeddings collapsed.
        Stopped: a signal asked for that; the checkpoint is written.
    """
    train, watched = split_rows(store, run.seed)
    batch_size = min(run.batch_size, len(train))
    if run.crop > store.patch_size or batch_size < 2:
        raise UserError(
            f"cannot pretrain on {len(train)} patches of {store.patch_size} px with crops of "
            f"{run.crop} px: at least 2 patches as large as the crop are needed"
        )
    _refuse_uneven(batch_size)
    per_epoch = len(train) // batch_size
    # a batch of fewer patches than groups still holds whole pieces
    piece = run.groups_per_batch and max(1, batch_size // run.groups_per_batch)
    state = _new_state(objective, run, per_epoch, accelerator, checkpoint)
    inputs = accelerator.unwrap_model(objective).inputs
    source = ViewSource(views, inputs, store, run.seed, accelerator.device)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
    _refuse_different(state, per_epoch)
    # a run that resumes logs its epochs again, in case it was killed before they were logged
    yield from state.history
    # a signal waits for the end of a step: a checkpoint holds whole steps
    with deferred() if checkpoint else nullcontext():
        for epoch in range(len(state.history), run.epochs):
            # by epoch alone, so a run that resumes visits the same patches
            batches = epoch_batches(train, store.groups, batch_size, piece, run.seed, epoch)
            metrics = _epoch(state, batches[:, rank() :: ranks()], source, run, accelerator)
            metrics |= _watch(state.model, watched, source, accelerator)
            warm = epoch + 1 >= run.warmup_epochs
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
    # the sum is that of equal counts, unless a rank resumed elsewhere
    if int(summed(torch.tensor(steps, device=state.device))) != steps * ranks():
        raise UserError(
            f"process {rank()} found a checkpoint of {steps} steps, others another one: all "
            "nodes must see one folder of checkpoints, on a disk that they share"
        )


def _new_state(
    objective: nn.Module,
    run: ContrastiveRun,
    per_epoch: int,
    accelerator: Accelerator,
    checkpoint: Path | None,
) -> TrainingState:
    objective = share_batch_statistics(objective, accelerator.device)
    # fused: one kernel updates all parameters
    optimizer = AdamW(objective.parameters(), run.lr, weight_decay=run.weight_decay, fused=True)
    objective, optimizer = accelerator.prepare(objective, optimizer)
    warmup = round(run.warmup_epochs * per_epoch)
    scheduler = cosine_schedule(optimizer, run.epochs * per_epoch, warmup)
    kept = checkpoint if accelerator.is_main_process else None
    return TrainingState(objective, optimizer, scheduler, accelerator.device, kept)


@dataclass(frozen=True)
class ViewSource:
    """Draws the views of patches, reads no more of the store than they show, and makes them."""

    views: Views
    inputs: Mapping[Sensor, InputSpec]
    store: PatchStore
    seed: int
    device: torch.device

    def __call__(self, rows: Rows, step: int, share: tuple[int, int] = (0, 1)) -> Batch:
        """Return the views of `rows`: of a whole batch, or of the share (rank, ranks) of one."""
        draws = Draws(generator(self.seed, step), *share)
        drawn = self.views.windows(self.inputs, len(rows), self.store.patch_size, draws)
        return {sensor: self._view(sensor, rows, view) for sensor, view in drawn.items()}

    def _view(self, sensor: Sensor, rows: Rows, view: View) -> Tensor:
        # SimCLR has two views of each patch: all rows are read, and then all again
        of_views = np.resize(rows, len(view.window.top))
        stored = self.store.bands(sensor, self.inputs[sensor], of_views, view.window)
        return view(stored.to(self.device, non_blocking=True))

    def groups(self, rows: Rows) -> Tensor:
        """Return the number of every row's group, int64 (B,)."""
        return torch.from_numpy(self.store.group_numbers[rows]).to(self.device)


def _epoch(
    state: TrainingState,
    batches: Rows,
    source: ViewSource,
    run: ContrastiveRun,
    accelerator: Accelerator,
) -> Metrics:
    """Train on the steps that are left of an epoch; `batches` (steps, B) are this rank's rows."""
    state.model.train()
    epoch, done, lr = len(state.history), len(state.losses), 0.0
    title = f"epoch {epoch + 1}/{run.epochs}"
    for number in tqdm(range(done, len(batches)), title, leave=False, disable=None):
        rows, step = batches[number], epoch * len(batches) + number
        # stochastic depth draws from the global generator, on every rank other numbers
        torch.manual_seed(generator(run.seed, step).initial_seed() + rank())
        views = source(rows, step, (rank(), ranks()))
        groups = source.groups(rows) if run.mask_same_group else None
        with accelerator.autocast():
            loss = state.model(views, groups)
        accelerator.backward(loss)
        lr = float(state.optimizer.param_groups[0]["lr"])
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        # stays on the device: to read each loss would wait for a GPU at every step
        state.losses.append(loss.detach())
        if number + 1 < len(batches):  # after the last one the epoch is over
            state.save_if_due()
    mean_loss = float(summed(torch.stack(state.losses).mean()) / ranks())
    refuse_not_finite(mean_loss, (epoch + 1) * len(batches))
    return {"epoch": epoch + 1, "loss": mean_loss, "lr": lr}


def _watch(
    objective: nn.Module, rows: Rows, source: ViewSource, accelerator: Accelerator
) -> Metrics:
    """Measure the health of the embeddings of held-out `rows`; it takes at least two."""
    if len(rows) < 2:
        return {}
    objective.eval()
    views = source(rows, 0)  # the same views after every epoch, so that its figures compare
    with torch.no_grad(), accelerator.autocast():
        return embedding_health(*accelerator.unwrap_model(objective).embed(views))
