"""One pretraining run of params.yaml: from the patch store to a weight file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import nn

from eocontrast.config.pretraining import (
    BackboneParams,
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
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.batches import split_rows
from eocontrast.pretraining.loop import Views, pretrain
from eocontrast.pretraining.objectives import MMA, DualSimCLR, SimCLR
from eocontrast.pretraining.start import load_starts, published_starts, started_specs
from eocontrast.pretraining.views import PairViews, SimCLRViews
from eocontrast.training.checkpoint import Metrics
from eocontrast.training.devices import Precision, accelerator, deterministic
from eocontrast.training.ranks import rank
from eocontrast.training.resuming import digest

Trained = SimCLRRun | DualSimCLRRun | MMARun
"""Runs of the methods that train."""


def pretrain_run(
    run: PretrainRun,
    backbone: BackboneParams,
    store: PatchStore,
    weights: Path,
    precision: Precision,
    checkpoint: Path | None = None,
) -> Iterator[Metrics]:
    """Train the backbones of one run and save them; yield metrics every epoch.

    Two methods train nothing. `random` saves the input specs without tensors: fine-tuning draws the
    weights from its seed. `imported` checks a file and takes it over. Of the processes of a
    `torchrun` the first one writes.

    Args:
        run: method and parameters, an entry of `pretrain.runs` in params.yaml.
        backbone: entry of `backbones` that the run names.
        store: patches to train on.
        weights: weight file to write.
        precision: auto, bf16 or no.
        checkpoint: file to resume from, named by `run_digest`; the caller removes it.

    Raises:
        UserError: the backbone does not exist or does not suit the data, a band is missing, or an
            imported file is not the one that the run names.
        CollapseError: the loss is not finite, or the embeddings collapsed.
    """
    architecture = Architecture(backbone.name, backbone.options)
    if isinstance(run, ImportedRun):
        load_pinned(run.file, run.sha256, architecture, store.specs).save(weights)
        return
    described = run.model_dump(mode="json")
    names = () if isinstance(run, RandomRun) else run.init_from
    starts = published_starts(names, architecture, store.specs)
    specs = started_specs(starts, _specs(run, backbone, store))
    made = Pretrained(run.method, architecture, specs, {}, store.digest, described)
    origins = tuple(origin for start in starts.values() for origin in start.origins)
    made = replace(made, data=store.data, origins=origins)
    if isinstance(run, RandomRun):
        create_backbone(architecture, in_chans=1)  # refuses an unknown model here, not hours later
        made.save(weights)
        return
    deterministic(run.seed)
    device = accelerator(precision)
    backbones = {sensor: Backbone(architecture, {sensor: spec}) for sensor, spec in specs.items()}
    load_starts(starts, backbones)
    metrics: Metrics = {}
    for metrics in pretrain(*_method(run, backbones), store, run, device, checkpoint):
        yield metrics
    if rank() > 0:
        return
    replace(
        made,
        tensors=backbone_tensors(backbones),  # without the projection heads
        patches=len(split_rows(store, run.seed)[0]),
        health={name: float(f"{value:.6g}") for name, value in metrics.items()},
    ).save(weights)


def run_digest(
    run: PretrainRun, backbone: BackboneParams, store: PatchStore, precision: Precision
) -> str:
    """Return a name for all that determines the weights of a run."""
    device = accelerator(precision)
    return digest(run, backbone, store.digest, device.device.type, device.mixed_precision)


def _specs(
    run: RandomRun | Trained, backbone: BackboneParams, store: PatchStore
) -> dict[Sensor, InputSpec]:
    """Return the inputs of each backbone: whole patches, or the crops and bands of the run."""
    specs = {s: replace(spec, scaling=backbone.scaling) for s, spec in store.specs.items()}
    if isinstance(run, RandomRun):
        return specs
    specs = {sensor: replace(specs[sensor], patch_size=run.crop) for sensor in run.sensors}
    if isinstance(run, SimCLRRun) and run.bands:
        # P1's control sees red, green and blue alone
        specs[run.sensor] = specs[run.sensor].select(run.bands)
    return specs


def _method(run: Trained, backbones: dict[Sensor, Backbone]) -> tuple[nn.Module, Views]:
    match run:
        case SimCLRRun():
            return SimCLR(backbones, run), SimCLRViews(run)
        case DualSimCLRRun():
            return DualSimCLR(backbones, run), PairViews(run)
        case MMARun():
            return MMA(backbones, run), PairViews(run)
