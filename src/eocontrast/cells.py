"""One cell of the pretraining grid: a method on a backbone, from the store to a weight file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator

from eocontrast.backbones import Architecture, Backbone, create_backbone
from eocontrast.devices import Precision, accelerator, deterministic
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.objectives import DualSimCLR
from eocontrast.params import BackboneParams, DualSimCLRRun, RandomRun
from eocontrast.patches import PatchStore
from eocontrast.pretraining import Metrics, Schedule, pretrain
from eocontrast.weights import Pretrained, backbone_tensors


def pretrain_cell(
    run: RandomRun | DualSimCLRRun,
    backbone: BackboneParams,
    store: PatchStore,
    weights: Path,
    precision: Precision,
    checkpoints: Path | None = None,
) -> Iterator[Metrics]:
    """Train and save one cell; yields metrics an epoch.

    `random` is a method of zero epochs: its file holds the input spec and no tensors, and whoever
    starts from it draws the weights from a seed.

    Args:
        run: method and its parameters.
        backbone: timm name and options.
        store: patches.
        weights: where the backbones go.
        precision: auto, bf16 or no.
        checkpoints: folder from which a killed run continues.

    Raises:
        UserError: timm has no such backbone, or the data do not suit it.
        CollapseError: the loss is not finite or the embeddings collapsed.
    """
    architecture = Architecture(backbone.name, backbone.options)
    backbones: dict[Sensor, Backbone] = {}
    checkpoint = None
    if isinstance(run, RandomRun):
        create_backbone(architecture, in_chans=1)  # refuses an unknown model here, not hours later
    else:
        deterministic(run.seed)
        device = accelerator(precision)
        backbones = {s: Backbone(architecture, {s: store.specs[s]}) for s in SENSORS}
        objective = DualSimCLR(backbones, run.projection_dim, run.temperature)
        if checkpoints is not None:
            checkpoint = checkpoints / f"{_digest(run, backbone, store, device)}.pt"
        yield from pretrain(objective, store, _schedule(run), device, checkpoint)
    tensors = backbone_tensors(backbones)
    Pretrained(run.method, architecture, store.specs, tensors, store.digest).save(weights)
    if checkpoint is not None:
        checkpoint.unlink()


def _schedule(run: DualSimCLRRun) -> Schedule:
    return Schedule(
        seed=run.seed,
        epochs=run.epochs,
        warmup_epochs=run.warmup_epochs,
        batch_size=run.batch_size,
        groups_per_batch=run.groups_per_batch,
        crop=run.crop,
        flips=run.flips,
        lr=run.lr,
        weight_decay=run.weight_decay,
    )


def _digest(
    run: DualSimCLRRun, backbone: BackboneParams, store: PatchStore, device: Accelerator
) -> str:
    """Names a checkpoint by all that determines the result, so that a stale one never resumes."""
    determined_by = (run, backbone, store.digest, device.device, device.mixed_precision)
    return hashlib.sha256(repr((*determined_by, torch.__version__)).encode()).hexdigest()
