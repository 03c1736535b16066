"""One cell of the pretraining grid: a method on a backbone, from the store to a weight file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eocontrast.backbones import Architecture, Backbone, create_backbone
from eocontrast.devices import Precision, accelerator, deterministic
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.objectives import DualSimCLR
from eocontrast.params import BackboneParams, DualSimCLRRun, RandomRun
from eocontrast.patches import PatchStore
from eocontrast.pretraining import Schedule, pretrain
from eocontrast.weights import Pretrained, backbone_tensors


def pretrain_cell(
    run: RandomRun | DualSimCLRRun,
    backbone: BackboneParams,
    store: PatchStore,
    weights: Path,
    precision: Precision,
) -> Iterator[dict[str, float]]:
    """Train and save one cell; yields metrics an epoch.

    `random` is a method of zero epochs: its file holds the input spec and no tensors, and whoever
    starts from it draws the weights from a seed.

    Raises:
        UserError: timm has no such backbone, or the data do not suit it.
        CollapseError: the loss is not finite or the embeddings collapsed.
    """
    architecture = Architecture(backbone.name, backbone.options)
    backbones: dict[Sensor, Backbone] = {}
    if isinstance(run, RandomRun):
        create_backbone(architecture, in_chans=1)  # refuses an unknown model here, not hours later
    else:
        deterministic(run.seed)
        backbones = {s: Backbone(architecture, {s: store.specs[s]}) for s in SENSORS}
        objective = DualSimCLR(backbones, run.projection_dim, run.temperature)
        schedule = Schedule(
            seed=run.seed,
            epochs=run.epochs,
            warmup_epochs=run.warmup_epochs,
            batch_size=run.batch_size,
            crop=run.crop,
            flips=run.flips,
            lr=run.lr,
            weight_decay=run.weight_decay,
        )
        yield from pretrain(objective, store, schedule, accelerator(precision))
    tensors = backbone_tensors(backbones)
    Pretrained(run.method, architecture, store.specs, tensors, store.digest).save(weights)
