"""One cell of the pretraining grid: a method on a backbone, from the store to a weight file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import nn

from eocontrast.config.pretraining import (
    BackboneParams,
    ContrastiveRun,
    DualSimCLRRun,
    ImportedRun,
    MMARun,
    PretrainRun,
    RandomRun,
    SimCLRRun,
)
from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Architecture, Backbone, create_backbone
from eocontrast.models.weights import Pretrained, backbone_tensors, load_pinned
from eocontrast.patches.augment import PairViews
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.batches import split_rows
from eocontrast.pretraining.loop import Schedule, Views, pretrain
from eocontrast.pretraining.objectives import MMA, DualSimCLR, SimCLR
from eocontrast.pretraining.views import SimCLRViews
from eocontrast.training.checkpoint import Metrics
from eocontrast.training.devices import Precision, accelerator, deterministic
from eocontrast.training.ranks import rank
from eocontrast.training.resuming import digest

Trained = SimCLRRun | DualSimCLRRun | MMARun
"""Methods that train anything."""


def pretrain_cell(
    run: PretrainRun,
    backbone: BackboneParams,
    store: PatchStore,
    weights: Path,
    precision: Precision,
    checkpoint: Path | None = None,
) -> Iterator[Metrics]:
    """Train and save one cell; yields metrics an epoch.

    `random` is a method of zero epochs: its file holds the input specs and no tensors, and whoever
    starts from it draws the weights from a seed. `imported` trains nothing either: the file is
    checked and taken over. Of processes that train together (`torchrun`) the first one writes.

    Args:
        run: method and its parameters.
        backbone: name, options and scaling.
        store: patches.
        weights: where the backbones go.
        precision: auto, bf16 or no.
        checkpoint: from which a killed run goes on, named by `cell_digest`; the caller removes it.

    Raises:
        UserError: there is no such backbone, the data do not suit it or lack a band, or an imported
            file is not the one that the run names.
        CollapseError: the loss is not finite or the embeddings collapsed.
    """
    architecture = Architecture(backbone.name, backbone.options)
    if isinstance(run, ImportedRun):
        load_pinned(run.file, run.sha256, architecture, store.specs).save(weights)
    elif isinstance(run, RandomRun):
        create_backbone(architecture, in_chans=1)  # refuses an unknown model here, not hours later
        specs, described = _scaled(store, backbone), run.model_dump(mode="json")
        made = Pretrained(run.method, architecture, specs, {}, store.digest, described)
        replace(made, data=store.data).save(weights)
    else:
        yield from _train(run, backbone, store, weights, precision, checkpoint)


def _train(
    run: Trained,
    backbone: BackboneParams,
    store: PatchStore,
    weights: Path,
    precision: Precision,
    checkpoint: Path | None,
) -> Iterator[Metrics]:
    architecture = Architecture(backbone.name, backbone.options)
    seen = _seen(run, _scaled(store, backbone))
    deterministic(run.seed)
    device = accelerator(precision)
    backbones = {sensor: Backbone(architecture, {sensor: spec}) for sensor, spec in seen.items()}
    objective, views = _objective(run, backbones), _views(run)
    metrics: Metrics = {}
    for metrics in pretrain(objective, views, store, _schedule(run), device, checkpoint):
        yield metrics
    if rank() > 0:
        return
    Pretrained(
        method=run.method,
        architecture=architecture,
        specs=seen,
        tensors=backbone_tensors(backbones),
        digest=store.digest,
        data=store.data,
        run=run.model_dump(mode="json"),
        patches=len(split_rows(store, run.seed)[0]),
        health={name: float(f"{value:.6g}") for name, value in metrics.items()},
    ).save(weights)


def cell_digest(
    run: PretrainRun, backbone: BackboneParams, store: PatchStore, precision: Precision
) -> str:
    """Names a cell by all that determines its weights."""
    device = accelerator(precision)
    return digest(run, backbone, store.digest, device.device.type, device.mixed_precision)


def _scaled(store: PatchStore, backbone: BackboneParams) -> dict[Sensor, InputSpec]:
    return {s: replace(spec, scaling=backbone.scaling) for s, spec in store.specs.items()}


def _seen(run: Trained, specs: dict[Sensor, InputSpec]) -> dict[Sensor, InputSpec]:
    """What each backbone sees: crops, of the bands that the run names."""
    seen = {sensor: replace(specs[sensor], patch_size=run.crop) for sensor in run.sensors}
    if isinstance(run, SimCLRRun) and run.bands:
        seen[run.sensor] = seen[run.sensor].select(run.bands)
    return seen


def _objective(run: Trained, backbones: dict[Sensor, Backbone]) -> nn.Module:
    match run:
        case SimCLRRun():
            return SimCLR(run.sensor, backbones[run.sensor], run.projection_dim, run.temperature)
        case DualSimCLRRun():
            return DualSimCLR(backbones, run.projection_dim, run.temperature)
        case MMARun():
            return MMA(backbones, run.temperature, run.max_offset)


def _views(run: Trained) -> Views:
    if isinstance(run, SimCLRRun):
        return SimCLRViews(run.crop, run.flips, run.min_scale, run.jitter)
    return PairViews(run.crop, run.flips, run.shared_crop)


def _schedule(run: ContrastiveRun) -> Schedule:
    return Schedule(
        seed=run.seed,
        epochs=run.epochs,
        warmup_epochs=run.warmup_epochs,
        batch_size=run.batch_size,
        groups_per_batch=run.groups_per_batch,
        mask_same_group=run.mask_same_group,
        lr=run.lr,
        weight_decay=run.weight_decay,
    )
