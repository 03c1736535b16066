"""Train points of the label curve and write their weight files."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from eocontrast.finetuning.budgets import (
    Budget,
    label_budget,
    labelled_pixels,
    labelled_shapes,
)
from eocontrast.finetuning.forward import FeatureInputs, Inputs, PatchInputs
from eocontrast.finetuning.loop import fit, freeze
from eocontrast.finetuning.points import Job
from eocontrast.models.build import new_model
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.features import Features, embed
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.fusion import STREAMS
from eocontrast.models.model import Model, PooledModel
from eocontrast.models.tasks import patch_targets
from eocontrast.models.weight_files import save_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.agreement import compare_ground
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.runtime.parallel import parallel_map, workers_for_models
from eocontrast.training.checkpoint import Metrics
from eocontrast.training.devices import accelerator, deterministic


@dataclass(frozen=True)
class Trained:
    """A trained point.

    Attributes:
        arm: Name of its arm.
        file: Weights.
        spec: Their header.
        history: Metrics of each epoch.
        times: Start and end of its training in seconds since 1970.
        again: Whether a previous run that was stopped later had trained it.
    """

    arm: str
    file: Path
    spec: FinetunedSpec
    history: list[Metrics]
    times: tuple[float, float]
    again: bool = False


def train_points(jobs: Sequence[Job]) -> Iterator[Trained]:
    """Train and save every point that is not there yet; all jobs share the store.

    Points come in this order: those that a previous run finished, heads on frozen backbones, then
    the others as given.

    Raises:
        UserError: a fraction holds fewer patches than there are classes.
    """
    for store, init in dict.fromkeys((job.store, job.init) for job in jobs):
        pretrained = Pretrained.load(init)
        if pretrained.trained:  # random weights have seen no pixels
            compare_ground(init.name, pretrained.specs, PatchStore(store).specs)
    done = {job: trained for job in jobs if (trained := _finished(job))}
    yield from done.values()
    left = [job for job in jobs if job not in done]
    heads = [job for job in left if job.on_features]
    # every patch passes frozen backbones once, whatever the number of arms and points
    calls = [
        ([job for job in heads if _backbones(job) == backbones],)
        for backbones in dict.fromkeys(_backbones(job) for job in heads)
    ] + [([job],) for job in left if not job.on_features]
    for group in parallel_map(_train, calls, workers_for_models()):
        yield from group


def train_point(job: Job, features: Features | None = None) -> Trained:
    """Train and save one point.

    Args:
        job: The point.
        features: Features of the training split for a head on frozen backbones.
    """
    began, store, init = time.time(), PatchStore(job.store), Pretrained.load(job.init)
    budget = label_budget(store, job.fraction, job.seed, job.recipe.val_fraction)
    deterministic(job.seed)
    spec = _spec(job, store, init, budget)
    model = new_model(init, spec)
    inputs = _inputs(job, model, store, budget, features)
    history: list[Metrics] = []
    if inputs is not None:
        # BatchNorm of a pretrained backbone keeps the statistics of its pretraining
        keep = init.method != "random"
        history = fit(inputs, job.task, budget, job.arm, job.recipe, job.seed, keep)
    if isinstance(inputs, FeatureInputs) and isinstance(model, Classifier):
        inputs.fold(model.head)
    save_weights(job.file, model.state_dict(), spec.to_dict())
    times = (began, time.time())
    # last: where this file is, the point is finished
    write_text(_history_file(job), json.dumps({"history": history, "times": times}))
    return Trained(job.name, job.file, spec, history, times)


def _inputs(
    job: Job, model: Model, store: PatchStore, budget: Budget, features: Features | None
) -> Inputs | None:
    """Return what the model is trained on, or None if it only remembers labelled features."""
    dropout = job.arm.modality_dropout
    if features is None:
        device = accelerator(job.precision)
        if job.arm.frozen:
            freeze(model.backbones)
        model.to(device.device)
        return PatchInputs(model, store, job.task, device, job.recipe.crop, dropout)
    targets = patch_targets(store, job.task)
    if isinstance(model, NeighbourClassifier):
        votes = targets[torch.from_numpy(budget.train)]
        if job.task.exclusive:
            votes = F.one_hot(votes, len(store.classes))
        model.remember(features.of(budget.train), votes)
        return None
    assert isinstance(model, Classifier)
    return FeatureInputs(model, store, features, targets, budget.train, dropout)


def _backbones(job: Job) -> tuple[object, ...]:
    """Return what the features of a frozen job depend on."""
    return job.init, STREAMS[job.arm.fusion]


def _train(jobs: Sequence[Job]) -> list[Trained]:
    """Train one point, or several heads on the same frozen backbones."""
    if not jobs[0].on_features:
        return [train_point(job) for job in jobs]
    store, init = PatchStore(jobs[0].store), Pretrained.load(jobs[0].init)
    budget = label_budget(store, jobs[0].fraction, jobs[0].seed, jobs[0].recipe.val_fraction)
    model = new_model(init, _spec(jobs[0], store, init, budget))
    assert isinstance(model, PooledModel)
    # all labelled patches, whatever the jobs: sums differ in the last bit with a chunk's size, and
    # a point trained alone must equal the same point of the grid
    features = embed(model, store, store.labelled("train"), accelerator(jobs[0].precision))
    return [train_point(job, features) for job in jobs]


def _history_file(job: Job) -> Path:
    return job.file.with_suffix(".json")


def _finished(job: Job) -> Trained | None:
    """Return a point that a previous run finished, or None if it must be trained."""
    if not _history_file(job).exists():
        return None
    try:
        told = json.loads(_history_file(job).read_text())
        history, (began, ended) = told["history"], told["times"]
        spec = FinetunedSpec.load(job.file)
    except (KeyError, TypeError, ValueError, UserError):
        return None  # damaged since: training again takes seconds
    return Trained(job.name, job.file, spec, history, (began, ended), again=True)


def _spec(job: Job, store: PatchStore, init: Pretrained, budget: Budget) -> FinetunedSpec:
    """Describe a point for the header of its weights."""
    # heads on frozen backbones are trained on whole patches, everything else on crops
    side = store.patch_size if job.on_features else job.recipe.crop
    return FinetunedSpec(
        **{**job.arm.model_dump(), "task": job.task.name},
        method=init.method,
        pretrained_digest=init.digest,
        recipe=job.recipe.model_dump(),
        fraction=job.fraction,
        seed=job.seed,
        n_labels=budget.n_labels,
        n_pixels=labelled_pixels(store, budget),
        n_shapes=labelled_shapes(store, budget),
        n_validation=len(budget.validation),
        architecture=init.architecture,
        inputs={
            sensor: replace(
                spec,
                patch_size=side,
                pixel=store.specs[sensor].pixel,
                with_offset=store.specs[sensor].with_offset,
            )
            for sensor, spec in init.specs.items()
        },
        classes=store.classes,
        palette=store.palette,
        data=store.data,
        data_digest=store.digest,
        others=init.others,
        origins=init.origins,
        pretraining_seed=job.pretraining_seed,
    )
