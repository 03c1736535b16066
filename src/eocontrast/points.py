"""Points of the label curve: (arm, fraction, seed), trained side by side.

Points are small, so on a CPU each gets one thread: two points at once on two cores are 1.4 (ResNet)
to 1.7 (Swin) times as fast as one after the other on both, and a point's weights do not depend on
the number of cores.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eocontrast.classifiers import new_classifier
from eocontrast.devices import Precision, accelerator, deterministic
from eocontrast.errors import UserError
from eocontrast.finetuning import (
    Budget,
    FeatureInputs,
    Inputs,
    PatchInputs,
    Training,
    embed,
    fit,
    label_budget,
)
from eocontrast.params import Arm, Recipe
from eocontrast.patches import PatchStore
from eocontrast.weights import Pretrained, save_weights

INDEX = "points.json"
"""Names the points of a folder: later stages read by name, never by glob."""


@dataclass(frozen=True)
class Job:
    """All that one point needs; small enough to send to another process."""

    store: Path
    init: Path
    arm: Arm
    recipe: Recipe
    fraction: float
    seed: int
    precision: Precision
    out: Path

    @property
    def file(self) -> Path:
        """Where the weights go, named by coordinates."""
        return self.out / f"{self.fraction}-{self.seed}.safetensors"


@dataclass(frozen=True)
class Trained:
    """What a point left behind: its weights, their header, and metrics an epoch."""

    file: Path
    header: dict[str, Any]
    history: list[dict[str, float]]


def train_points(jobs: Sequence[Job]) -> Iterator[Trained]:
    """Train and save every point, in order; one arm's jobs share store, init and recipe.

    Raises:
        UserError: a fraction holds fewer patches than there are classes.
    """
    if jobs[0].arm.frozen:
        yield from _train_heads(jobs)
    elif torch.cuda.is_available() or not sys.platform.startswith("linux"):
        yield from map(train_point, jobs)
    else:
        # forked, as DataLoader's workers are: importing torch anew would cost each worker 4 s
        workers = min(len(jobs), len(os.sched_getaffinity(0)))
        with multiprocessing.get_context("fork").Pool(workers, torch.set_num_threads, (1,)) as pool:
            yield from pool.imap(train_point, jobs)


def train_point(job: Job, features: dict[int, Tensor] | None = None) -> Trained:
    """Train and save one point; `features` by row, where the arm is frozen."""
    store, init = PatchStore(job.store), Pretrained.load(job.init)
    budget = label_budget(store, job.fraction, job.seed, job.recipe.val_fraction)
    deterministic(job.seed)
    classifier = new_classifier(init, job.arm.fusion, len(store.classes))
    inputs: Inputs
    if features is None:
        device = accelerator(job.precision)
        inputs = PatchInputs(classifier.to(device.device), store, device, job.recipe.crop)
    else:
        inputs = FeatureInputs(classifier.head, features, budget.train)
    history = list(fit(inputs, store.labels, budget, _training(job)))
    if isinstance(inputs, FeatureInputs):
        inputs.fold(classifier.head)
    header = _header(job, store, init, budget)
    save_weights(job.file, classifier.state_dict(), header)
    return Trained(job.file, header, history)


def _train_heads(jobs: Sequence[Job]) -> Iterator[Trained]:
    """Heads on frozen backbones: every patch is embedded once for the whole curve."""
    store, init = PatchStore(jobs[0].store), Pretrained.load(jobs[0].init)
    # all of them, in chunks that do not depend on the jobs: sums differ with the size of a batch
    rows = store.labelled("train")
    classifier = new_classifier(init, jobs[0].arm.fusion, len(store.classes))
    features = embed(classifier, store, rows, accelerator(jobs[0].precision))
    for job in jobs:
        yield train_point(job, features)


def _training(job: Job) -> Training:
    recipe = job.recipe
    return Training(
        epochs=recipe.epochs,
        min_steps=recipe.min_steps,
        batch_size=recipe.batch_size,
        weight_decay=recipe.weight_decay,
        lr=job.arm.lr,
        backbone_lr_scale=job.arm.backbone_lr_scale,
        seed=job.seed,
    )


def _header(job: Job, store: PatchStore, init: Pretrained, budget: Budget) -> dict[str, Any]:
    return {
        "architecture": init.architecture.to_dict(),
        "inputs": {sensor: spec.to_dict() for sensor, spec in init.specs.items()},
        "classes": list(store.classes),
        "palette": store.palette,
        "data_digest": store.digest,
        "pretrained": {"method": init.method, "data_digest": init.digest},
        "task": job.recipe.task,
        "fraction": job.fraction,
        "seed": job.seed,
        "n_labels": budget.n_labels,
        "n_validation": len(budget.validation),
        "recipe": job.recipe.model_dump(),
        **job.arm.model_dump(),
    }


def too_small(store: PatchStore, fractions: Sequence[float]) -> dict[str, str]:
    """Fractions that hold fewer patches than classes, and why; a curve leaves them out."""
    refused = {}
    for fraction in fractions:
        try:
            label_budget(store, fraction, seed=0, val_fraction=0)
        except UserError as error:
            refused[str(fraction)] = str(error)
    return refused


def write_index(folder: Path, files: Sequence[str], left_out: dict[str, str]) -> None:
    """Leave the names of the points, and the fractions left out, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"points": list(files), "left_out": left_out}
    (folder / INDEX).write_text(json.dumps(content, indent=1) + "\n")


def read_index(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Weight files of the points, and the fractions left out with the reason.

    Raises:
        UserError: the folder holds no index.
    """
    try:
        index = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / INDEX} cannot be read ({error}): run the stage that fine-tunes again"
        ) from error
    return [folder / name for name in index["points"]], index["left_out"]
