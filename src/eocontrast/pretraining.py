"""One loop for every contrastive objective; killed runs continue at the last whole epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from eocontrast.augment import epoch_order, generator
from eocontrast.errors import UserError
from eocontrast.health import embedding_health, refuse_collapse, refuse_not_finite
from eocontrast.inputs import Batch, InputSpec
from eocontrast.modalities import Sensor
from eocontrast.patches import PatchStore
from eocontrast.schedules import cosine_schedule
from eocontrast.subsets import Rows

HELD_OUT = 256
"""Pairs that are never trained on, to watch the embeddings by; at most a tenth of all."""

COLLAPSE_STEPS = 50
"""Backbones start with a mean cosine of .97 to .999: what has hardly learnt has not collapsed."""

Metrics = dict[str, float]


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


@dataclass
class _State:
    """All that changes while training."""

    objective: nn.Module
    optimizer: Optimizer
    scheduler: LambdaLR
    history: list[Metrics] = field(default_factory=list)

    def save(self, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({**state, "history": self.history}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        self.history = saved["history"]

    def _parts(self) -> dict[str, nn.Module | Optimizer | LambdaLR]:
        return {
            "objective": self.objective,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
        }


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
        checkpoint: written after every epoch, read at the start where it exists. The caller names
            it by all that determines the result, and removes it.

    Raises:
        UserError: a crop larger than the patches, or fewer than two patches.
        CollapseError: the loss is not finite or the embeddings collapsed.
    """
    train, watched = split_rows(store, schedule.seed)
    batch_size = min(schedule.batch_size, len(train))
    if views.crop > store.patch_size or batch_size < 2:
        raise UserError(
            f"cannot pretrain on {len(train)} patches of {store.patch_size} px with crops of "
            f"{views.crop} px: at least 2 patches as large as the crop are needed"
        )
    per_epoch = len(train) // batch_size
    state = _new_state(objective, schedule, per_epoch, accelerator)
    inputs = accelerator.unwrap_model(objective).inputs
    draw = _ViewSource(views, inputs, store, schedule.seed, accelerator.device)
    if checkpoint is not None and checkpoint.exists():
        state.load(checkpoint)
        yield from state.history
    for epoch in range(len(state.history), schedule.epochs):
        torch.manual_seed(generator(schedule.seed, epoch).initial_seed())  # stochastic depth
        order = train[epoch_order(len(train), schedule.seed, epoch).numpy()]
        if schedule.groups_per_batch:
            piece = max(1, batch_size // schedule.groups_per_batch)
            order = in_pieces(order, store.groups, piece, schedule.seed, epoch)
        batches = order[: per_epoch * batch_size].reshape(per_epoch, batch_size)
        metrics = _epoch(state, batches, draw, schedule, accelerator)
        metrics |= _watch(state.objective, watched, draw, accelerator)
        warm = epoch + 1 >= schedule.warmup_epochs
        if warm and (epoch + 1) * per_epoch >= COLLAPSE_STEPS and "spread" in metrics:
            refuse_collapse(metrics)
        state.history.append(metrics)
        if checkpoint is not None:
            state.save(checkpoint)
        yield metrics


def _new_state(
    objective: nn.Module, schedule: Schedule, per_epoch: int, accelerator: Accelerator
) -> _State:
    optimizer = AdamW(
        objective.parameters(), schedule.lr, weight_decay=schedule.weight_decay, fused=True
    )
    objective, optimizer = accelerator.prepare(objective, optimizer)
    warmup = round(schedule.warmup_epochs * per_epoch)
    scheduler = cosine_schedule(optimizer, schedule.epochs * per_epoch, warmup)
    return _State(objective, optimizer, scheduler)


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
    state: _State, batches: Rows, draw: _ViewSource, schedule: Schedule, accelerator: Accelerator
) -> Metrics:
    """Train on `batches`, (steps, batch size) rows of the store."""
    state.objective.train()
    epoch = len(state.history)
    losses = []
    lr = 0.0
    for number, rows in enumerate(
        tqdm(batches, f"epoch {epoch + 1}/{schedule.epochs}", leave=False, disable=None)
    ):
        views = draw(rows, epoch * len(batches) + number)
        with accelerator.autocast():
            loss = state.objective(views)
        accelerator.backward(loss)
        lr = float(state.optimizer.param_groups[0]["lr"])
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        losses.append(loss.detach())
    mean_loss = float(torch.stack(losses).mean())
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
