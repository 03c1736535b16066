"""Points of the label curve: (arm, fraction, seed), trained side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from eocontrast.config.arms import Arm
from eocontrast.config.finetuning import ClassificationRecipe, Recipe, Recipes
from eocontrast.config.params import LabelCurveParams
from eocontrast.finetuning.budgets import Budget, label_budget, labelled_pixels, unusable
from eocontrast.finetuning.forward import FeatureInputs
from eocontrast.finetuning.kept_points import keep, take
from eocontrast.finetuning.loop import Inputs, PatchInputs, Training, fit, freeze
from eocontrast.models.build import new_model
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.features import Features, embed
from eocontrast.models.model import Model, PooledModel
from eocontrast.models.point_files import point_file
from eocontrast.models.tasks import TASKS, Task, patch_targets
from eocontrast.models.weights import Pretrained, load_weights, save_weights
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.files import file_sha256
from eocontrast.runtime.parallel import parallel_map, workers_for_models
from eocontrast.training.checkpoint import Metrics
from eocontrast.training.devices import Precision, accelerator, deterministic
from eocontrast.training.resuming import digest


@dataclass(frozen=True)
class Job:
    """All that one point needs; small enough to send to another process.

    `name` is the arm's, for whoever reads of it.
    """

    name: str
    store: Path
    init: Path
    arm: Arm
    recipes: Recipes
    fraction: float
    seed: int
    precision: Precision
    out: Path

    @property
    def file(self) -> Path:
        """Where the weights go, named by coordinates."""
        return point_file(self.out, self.fraction, self.seed)

    @property
    def task(self) -> Task:
        """What is learnt."""
        return task_of(self.arm, self.recipes)

    @property
    def on_features(self) -> bool:
        """Whether a head alone is trained, on features that are computed once."""
        return self.arm.frozen and self.arm.task == "classification"

    @property
    def recipe(self) -> Recipe | ClassificationRecipe:
        """How it is learnt."""
        recipe: Recipe = getattr(self.recipes, self.arm.task)
        return recipe


def points_of(arm: Job, curve: LabelCurveParams) -> tuple[list[Job], dict[str, str]]:
    """Every point of an arm, and the fractions that it cannot be trained on, with the reason.

    Args:
        arm: any of its points.
        curve: fractions and seeds.
    """
    left_out = unusable(PatchStore(arm.store), arm.arm, curve.fractions)
    fractions = [fraction for fraction in curve.fractions if str(fraction) not in left_out]
    points = [
        replace(arm, fraction=fraction, seed=seed) for fraction in fractions for seed in curve.seeds
    ]
    return points, left_out


@dataclass(frozen=True)
class Trained:
    """What a point of an arm left behind: its weights, their header, and metrics an epoch.

    `again` is one that a run before this trained, which was killed later.
    """

    arm: str
    file: Path
    header: dict[str, Any]
    history: list[Metrics]
    again: bool = False


def train_points(jobs: Sequence[Job], kept: Path | None = None) -> Iterator[Trained]:
    """Train and save every point; all jobs share store and init.

    Those that an earlier run kept come first, then heads on frozen backbones, arm by arm, then the
    others in their order.

    Args:
        jobs: the points.
        kept: beginning of the names under which finished points are kept, and checkpoints of the
            others, for a run that goes on after a kill; named by `points_digest`, and the caller
            removes them.

    Raises:
        UserError: a fraction holds fewer patches than there are classes.
    """
    done = {job: trained for job in jobs if kept and (trained := _again(job, kept))}
    yield from done.values()
    left = [job for job in jobs if job not in done]
    heads = [job for job in left if job.on_features]
    for name in dict.fromkeys(job.name for job in heads):
        yield from _train_heads([job for job in heads if job.name == name], kept)
    train = partial(train_point, kept=kept)
    calls = [(job,) for job in left if not job.on_features]
    yield from parallel_map(train, calls, workers_for_models())


def points_digest(jobs: Sequence[Job]) -> str:
    """Names points by all that determines them, but the places of files."""
    if not jobs:  # every fraction was left out
        return digest()
    device = accelerator(jobs[0].precision)
    store, init = PatchStore(jobs[0].store).digest, file_sha256(jobs[0].init)
    points = [replace(job, store=Path(), init=Path(), out=Path()) for job in jobs]
    return digest(points, store, init, device.device, device.mixed_precision)


def _kept_as(job: Job, kept: Path) -> Path:
    return kept.with_name(f"{kept.name}-{job.name}-{job.fraction}-{job.seed}")


def _again(job: Job, kept: Path) -> Trained | None:
    history = take(_kept_as(job, kept), job.file)
    if history is None:
        return None
    return Trained(job.name, job.file, load_weights(job.file)[1], history, again=True)


def train_point(job: Job, features: Features | None = None, kept: Path | None = None) -> Trained:
    """Train and save one point; `features` of the training split, where a head alone is trained."""
    store, init = PatchStore(job.store), Pretrained.load(job.init)
    budget = label_budget(store, job.fraction, job.seed, job.recipe.val_fraction)
    place = None if kept is None else _kept_as(job, kept)
    deterministic(job.seed)
    header = _header(job, store, init, budget)
    model = new_model(init, header)
    training = _training(job, init)
    learn = partial(fit, task=job.task, budget=budget, training=training, checkpoint=place)
    history = list(_train(job, model, store, budget, learn, features))
    save_weights(job.file, model.state_dict(), header)
    if place is not None:
        keep(place, job.file, history)
        place.unlink(missing_ok=True)
    return Trained(job.name, job.file, header, history)


def _train(
    job: Job,
    model: Model,
    store: PatchStore,
    budget: Budget,
    learn: Callable[[Inputs], Iterator[Metrics]],
    features: Features | None,
) -> Iterator[Metrics]:
    if features is None:
        device = accelerator(job.precision)
        if job.arm.frozen:
            freeze(model.backbones)
        seen = (job.task, device, job.recipe.crop, job.arm.modality_dropout)
        yield from learn(PatchInputs(model.to(device.device), store, *seen))
        return
    targets = patch_targets(store, job.task)
    if isinstance(model, NeighbourClassifier):
        votes = targets[torch.from_numpy(budget.train)]
        if job.task.exclusive:
            votes = F.one_hot(votes, len(store.classes))
        model.remember(features.of(budget.train), votes)
        return
    assert isinstance(model, Classifier)
    known = FeatureInputs(model, store, features, targets, budget.train, job.arm.modality_dropout)
    yield from learn(known)
    known.fold(model.head)


def _train_heads(jobs: Sequence[Job], kept: Path | None) -> Iterator[Trained]:
    """Heads on frozen backbones: every patch is embedded once for the whole curve."""
    store, init = PatchStore(jobs[0].store), Pretrained.load(jobs[0].init)
    budget = label_budget(store, jobs[0].fraction, jobs[0].seed, jobs[0].recipe.val_fraction)
    model = new_model(init, _header(jobs[0], store, init, budget))
    assert isinstance(model, PooledModel)
    # all of them, whatever the jobs: a point alone is the point within the grid
    features = embed(model, store, store.labelled("train"), accelerator(jobs[0].precision))
    for job in jobs:
        yield train_point(job, features, kept)


def _training(job: Job, init: Pretrained) -> Training:
    recipe = job.recipe
    return Training(
        epochs=recipe.epochs,
        min_steps=recipe.min_steps,
        batch_size=recipe.batch_size,
        weight_decay=recipe.weight_decay,
        lr=job.arm.lr,
        backbone_lr_scale=job.arm.backbone_lr_scale,
        keep_statistics=init.method != "random",
        seed=job.seed,
    )


def _header(job: Job, store: PatchStore, init: Pretrained, budget: Budget) -> dict[str, Any]:
    return {
        "architecture": init.architecture.to_dict(),
        "inputs": {sensor: spec.to_dict() for sensor, spec in init.specs.items()},
        "classes": list(store.classes),
        "palette": store.palette,
        "data": store.data,
        "data_digest": store.digest,
        "pretrained": {"method": init.method, "data_digest": init.digest},
        "fraction": job.fraction,
        "seed": job.seed,
        "n_labels": budget.n_labels,
        "n_pixels": labelled_pixels(store, budget),
        "n_validation": len(budget.validation),
        "recipe": job.recipe.model_dump(),
        **job.arm.model_dump(),
        "task": job.task.name,
    }


def task_of(arm: Arm, recipes: Recipes) -> Task:
    """What an arm learns."""
    if arm.task == "segmentation":
        return TASKS["segmentation"]
    return TASKS[recipes.classification.labels]
