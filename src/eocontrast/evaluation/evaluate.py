"""Score models on the test split, which nothing else reads.

Scores come from counts over whole patches. Models with a backbone per sensor are also scored with
either sensor missing. An ensemble is the mean of several models' probabilities, with all sensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from eocontrast.evaluation.answers import Answers
from eocontrast.evaluation.prediction import ensemble, load_model, predictions
from eocontrast.evaluation.scores import Tally, class_scores, scores, tally
from eocontrast.models.features import Features, embed
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.model import Model
from eocontrast.models.tasks import Task, patch_targets
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.parallel import parallel_map, workers_for_models
from eocontrast.training.devices import Precision, accelerator


@dataclass(frozen=True)
class Evaluation:
    """Scores and predictions of one point with one set of sensors.

    Attributes:
        spec: Header of the fine-tuned file; an ensemble's is made from those of its members.
        inputs: Sensors that had an image, `s1`, `s2` or `s1+s2`.
        scores: Scores by name, with the expected calibration error as `ECE`.
        by_class: Recall, F1 and IoU by class name; NaN for a class without test patches.
        predictions: One row per patch and pair of classes: `id, group, actual, predicted, count`
            (pixels in segmentation, else 1). Several classes of a patch are joined by `|`.
    """

    spec: FinetunedSpec
    inputs: str
    scores: dict[str, float]
    by_class: dict[str, dict[str, float]]
    predictions: pd.DataFrame

    @property
    def task(self) -> Task:
        """Return the task that the model was trained for."""
        return self.spec.learning

    @property
    def tally(self) -> Tally:
        """Return the counts by test group and class, (G, C, 4)."""
        groups = np.unique(self.predictions["group"].to_numpy(dtype=object))
        return tally(self.predictions, self.spec.classes, groups)

    @property
    def confusion(self) -> pd.DataFrame:
        """Return the counts by `actual` and `predicted`, in the order of the classes."""
        order = {name: number for number, name in enumerate(self.spec.classes)}
        counted = self.predictions.groupby(["actual", "predicted"])["count"].sum().reset_index()
        return counted.sort_values(
            ["actual", "predicted"], key=lambda names: names.map(order).fillna(len(order))
        ).reset_index(drop=True)


def evaluate(
    files: Sequence[Sequence[Path]], store: PatchStore, device: Accelerator
) -> Iterator[list[list[Evaluation]]]:
    """Score fine-tuned files in parallel; several files in one entry are an ensemble as well.

    Frozen backbones see each test patch once for all points of an arm, and an ensemble reuses the
    probabilities of its members.

    Yields:
        For each entry one list per file and, if it has several, one for the ensemble. A list has
        one evaluation per set of sensors, all sensors first; an ensemble has only that one.

    Raises:
        UserError: there are no labelled test patches, or a model has other classes.
    """
    calls = [(part, store, device.mixed_precision) for part in _parts(files)]
    for scored in parallel_map(_score, calls, workers_for_models()):
        yield from scored


def _parts(files: Sequence[Sequence[Path]]) -> Iterator[list[Sequence[Path]]]:
    """Yield entries to score in one call: one, or an arm's heads on frozen backbones."""
    for _, alike in groupby(files, lambda members: [file.parent for file in members]):
        entries = list(alike)
        first = entries[0]
        # of an arm, all points are frozen or none is: one header tells
        together = len(first) == 1 and FinetunedSpec.load(first[0]).on_features
        yield from [entries] if together else [[members] for members in entries]


def _score(
    entries: Sequence[Sequence[Path]], store: PatchStore, precision: Precision
) -> list[list[list[Evaluation]]]:
    device, known, scored = accelerator(precision), {}, []
    for members in entries:
        models, specs = zip(*(load_model(file, store) for file in members), strict=True)
        features: Features | None = None
        if len(members) == 1 and specs[0].on_features:
            # what features depend on, whatever lies in one folder
            origin = specs[0].init, specs[0].fusion, specs[0].pretraining_seed
            if origin not in known:
                known[origin] = embed(models[0], store, _test_rows(store), device)
            features = known[origin]
        scored.append(_evaluate(models, specs, store, device, features))
    return scored


def _ensemble_spec(specs: Sequence[FinetunedSpec]) -> FinetunedSpec:
    """Describe an ensemble by its first member, all inits, and a pretraining if any had one."""
    # an ensemble with one pretrained member is no supervised arm
    origin = next((spec for spec in specs if spec.method != "random"), specs[0])
    return replace(
        specs[0],
        head="ensemble",
        init=" + ".join(dict.fromkeys(spec.init for spec in specs)),
        method=origin.method,
        pretrained_digest=origin.pretrained_digest,
        pretraining_seed=origin.pretraining_seed,
    )


def _test_rows(store: PatchStore) -> Rows:
    rows = store.labelled("test")
    if len(rows) == 0:
        raise UserError(f"{store.folder} has no labelled patch in the split test")
    return rows


def _evaluate(
    models: Sequence[Model],
    specs: Sequence[FinetunedSpec],
    store: PatchStore,
    device: Accelerator,
    features: Features | None,
) -> list[list[Evaluation]]:
    """Return the evaluations of every model, and of several together."""
    task = specs[0].learning
    targets = patch_targets(store, task)
    described = [*specs, _ensemble_spec(specs)] if len(models) > 1 else [*specs]
    known: list[dict[str, Answers]] = [{} for _ in described]
    chunks = [*store.chunks(_test_rows(store))]
    passes = [predictions(model, task, store, chunks, device, features) for model in models]
    for chunk, *said in zip(chunks, *passes, strict=True):
        by_pixel = task.name == "segmentation"
        # masks are read by chunk: those of all patches may not fit in memory
        truth = store.masks(chunk)[:, 0].long() if by_pixel else targets[torch.from_numpy(chunk)]
        if len(models) > 1:
            said.append(ensemble(said))
        for answers, by_sensors in zip(known, said, strict=True):
            for sensors, probabilities in by_sensors.items():
                seen = answers.setdefault("+".join(sensors), Answers())
                seen.add(store, chunk, task, truth, probabilities)
    return [
        [_evaluation(spec, inputs, seen) for inputs, seen in answers.items()]
        for spec, answers in zip(described, known, strict=True)
    ]


def _evaluation(spec: FinetunedSpec, inputs: str, seen: Answers) -> Evaluation:
    table = pd.concat(seen.tables, ignore_index=True)
    groups = np.unique(table["group"].to_numpy(dtype=object))
    counts = tally(table, spec.classes, groups).sum(0)
    # over all groups at once: a group may lack a class, the sum of all need not
    found = scores(counts, spec.learning.exclusive)
    overall = {name: float(value) for name, value in found.items()}
    overall["ECE"] = seen.reliability.error
    columns = {name: values.tolist() for name, values in class_scores(counts).items()}
    by_class = {
        name: {score: columns[score][number] for score in columns}
        for number, name in enumerate(spec.classes)
    }
    return Evaluation(spec, inputs, overall, by_class, table)
