"""The one reader of the test split: whole patches, scored by counts over the data set.

Models with a backbone a sensor are also scored with either sensor missing. Several models together
are an ensemble: the mean of their probabilities, with all sensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.errors import UserError
from eocontrast.frozen import Features, embed
from eocontrast.labels import IGNORE_INDEX, SEPARATOR
from eocontrast.missing import keep_only, sensor_sets
from eocontrast.modalities import Sensor
from eocontrast.models import model_from_header
from eocontrast.patches import PatchStore
from eocontrast.scores import Reliability, Tally, class_scores, scores, tally
from eocontrast.streams import LateModel, Model, PooledModel, Streams
from eocontrast.subsets import Rows
from eocontrast.tasks import TASKS, Task, patch_targets
from eocontrast.weights import load_weights

NOTHING = "none"
"""Written where a patch holds none of the classes."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one point with the sensors of `inputs`, and what it said of every test patch.

    Attributes:
        header: of the fine-tuned file, or made of those of an ensemble's members.
        task: what was learnt.
        inputs: sensors that had an image, `s1`, `s2` or `s1+s2`.
        scores: by name, with the expected calibration error as `ECE`.
        by_class: recall, F1 and IoU by class name; NaN for a class that is not tested.
        predictions: one row a patch and pair of classes: `id, group, actual, predicted, count`
            (pixels in segmentation, else 1); several classes of a patch are joined by `|`.
    """

    header: dict[str, Any]
    task: Task
    inputs: str
    scores: dict[str, float]
    by_class: dict[str, dict[str, float]]
    predictions: pd.DataFrame

    @property
    def tally(self) -> Tally:
        """Counts by test group and class, (G, C, 4)."""
        groups = np.unique(self.predictions["group"].to_numpy(dtype=object))
        return tally(self.predictions, self.header["classes"], groups)

    @property
    def confusion(self) -> pd.DataFrame:
        """Counts by `actual` and `predicted`, in the order of the classes."""
        order = {name: number for number, name in enumerate(self.header["classes"])}
        counted = self.predictions.groupby(["actual", "predicted"])["count"].sum().reset_index()
        return counted.sort_values(
            ["actual", "predicted"], key=lambda names: names.map(order).fillna(len(order))
        ).reset_index(drop=True)


def evaluate_points(
    files: Sequence[Path], store: PatchStore, device: Accelerator
) -> Iterator[list[Evaluation]]:
    """Score the points of one arm; what frozen backbones say of the test patches is kept.

    Raises:
        UserError: as `evaluate`.
    """
    features = None
    for file in files:
        model, header = load_model(file, store)
        if features is None and header["frozen"] and isinstance(model, PooledModel):
            features = embed(model, store, _test_rows(store), device)
        yield _evaluate([model], header, store, device, features)


def evaluate_ensemble(
    files: Sequence[Path], store: PatchStore, device: Accelerator
) -> list[Evaluation]:
    """Score the mean of the probabilities of several fine-tuned files.

    Raises:
        UserError: no labelled test patches, or classes that differ from the models'.
    """
    models, headers = zip(*(load_model(file, store) for file in files), strict=True)
    return _evaluate(models, _of_all(headers), store, device, None)


def _of_all(headers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What describes an ensemble: its first member, all inits, and a pretraining if any had one."""
    first = headers[0]
    origins = [header["pretrained"] for header in headers]
    return {
        **first,
        "head": "ensemble",
        "init": " + ".join(dict.fromkeys(header["init"] for header in headers)),
        "pretrained": next((o for o in origins if o["method"] != "random"), first["pretrained"]),
    }


def load_model(file: Path, store: PatchStore) -> tuple[Model, dict[str, Any]]:
    """A fine-tuned model and its header.

    Raises:
        UserError: the file is none, or tells other classes apart than the store.
    """
    tensors, header = load_weights(file)
    if "classes" not in header:
        raise UserError(f"{file} holds no fine-tuned model: fine-tune it first")
    if list(store.classes) != header["classes"]:
        raise UserError(
            f"{file} tells apart {header['classes']}, but {store.folder} holds "
            f"{list(store.classes)}: fine-tune on this data first"
        )
    model = model_from_header(header)
    model.load_state_dict(tensors)
    return model, header


def _test_rows(store: PatchStore) -> Rows:
    rows = store.labelled("test")
    if len(rows) == 0:
        raise UserError(f"{store.folder} has no labelled patch in the split test")
    return rows


def _evaluate(
    models: Sequence[Model],
    header: dict[str, Any],
    store: PatchStore,
    device: Accelerator,
    features: Features | None,
) -> list[Evaluation]:
    """One evaluation a set of sensors, all of them first."""
    task = TASKS[header["task"]]
    targets = patch_targets(store, task)
    known: dict[str, tuple[list[pd.DataFrame], Reliability]] = {}
    for chunk in store.chunks(_test_rows(store)):
        by_pixel = task.name == "segmentation"
        truth = store.masks(chunk)[:, 0].long() if by_pixel else targets[torch.from_numpy(chunk)]
        for sensors, probabilities in predict(models, task, store, chunk, device, features).items():
            tables, reliability = known.setdefault("+".join(sensors), ([], Reliability()))
            tables.append(_describe(store, chunk, task, truth, probabilities))
            reliability.add(*_confidence(task, truth, probabilities))
    return [
        _evaluation(header, task, inputs, pd.concat(tables, ignore_index=True), reliability)
        for inputs, (tables, reliability) in known.items()
    ]


def predict(
    models: Sequence[Model],
    task: Task,
    store: PatchStore,
    rows: Rows,
    device: Accelerator,
    features: Features | None = None,
) -> dict[tuple[Sensor, ...], Tensor]:
    """Mean probabilities of the models, with all sensors first.

    One model with a backbone a sensor also says what it makes of each sensor alone.

    Returns:
        By the sensors that had an image, (n, C), or (n, C, H, W) of pixels, float32 on the CPU.
    """
    found: dict[tuple[Sensor, ...], list[Tensor]] = {}
    for model in models:
        model.to(device.device).eval()
        with torch.no_grad(), device.autocast():
            for sensors, logits in _logits(model, store, rows, device, features):
                if logits.ndim == 4:  # joined streams still have the padding
                    logits = logits[..., : store.patch_size, : store.patch_size]
                found.setdefault(sensors, []).append(task.probabilities(logits.float()).cpu())
                if len(models) > 1:
                    break
    return {sensors: torch.stack(parts).mean(0) for sensors, parts in found.items()}


def _logits(
    model: Model, store: PatchStore, rows: Rows, device: Accelerator, features: Features | None
) -> Iterator[tuple[tuple[Sensor, ...], Tensor]]:
    """Logits for every set of sensors; where sensors are joined last, each is computed once."""
    if features is not None:
        assert isinstance(model, LateModel)
        yield from _joined(model, _on(features.of(rows), device), _on(features.absent, device))
        return
    batch = _on(store.batch(rows, model.inputs), device)
    if isinstance(model, LateModel) and model.apart:
        one = {sensor: stored[:1] for sensor, stored in batch.items()}
        absent = model.streams(keep_only(one, model.inputs, ()))
        yield from _joined(model, model.streams(batch), absent)
        return
    sets = sensor_sets(model.inputs)
    for sensors in sets if len(model.backbones) > 1 else sets[:1]:
        yield sensors, model(keep_only(batch, model.inputs, sensors))


def _on(tensors: dict[str, Tensor], device: Accelerator) -> dict[str, Tensor]:
    return {name: tensor.to(device.device) for name, tensor in tensors.items()}


def _joined(
    model: LateModel, streams: Streams, absent: Streams
) -> Iterator[tuple[tuple[Sensor, ...], Tensor]]:
    for sensors in sensor_sets(model.inputs):
        parts = {
            name: part if name in sensors else absent[name].expand_as(part)
            for name, part in streams.items()
        }
        yield sensors, model.join(parts)


def _describe(
    store: PatchStore, rows: Rows, task: Task, truth: Tensor, probabilities: Tensor
) -> pd.DataFrame:
    """What was so and what was said: `id, group, actual, predicted, count`."""
    names = np.array([*store.classes], dtype=object)
    actual: Sequence[str] | NDArray[np.object_]
    predicted: Sequence[str] | NDArray[np.object_]
    if task.name == "multi_label":
        actual, predicted = (
            _joined_names(truth > 0, names),
            _joined_names(probabilities > 0.5, names),
        )
        at, count = np.arange(len(rows)), np.ones(len(rows), dtype=np.int64)
    else:
        at, true, said, count = _pairs(truth, probabilities)
        actual, predicted = names[true], names[said]
    return pd.DataFrame(
        {
            "id": store.index["id"].to_numpy()[rows[at]],
            "group": store.groups[rows[at]],
            "actual": actual,
            "predicted": predicted,
            "count": count,
        }
    )


def _pairs(truth: Tensor, probabilities: Tensor) -> tuple[NDArray[np.int64], ...]:
    """Patch, true class, predicted class and count of all pairs that occur; ignored ones not."""
    size, num_classes = probabilities.shape[:2]
    said, true = probabilities.argmax(1).reshape(size, -1), truth.reshape(size, -1)
    place = torch.arange(size)[:, None] * num_classes**2 + true * num_classes + said
    counts = torch.bincount(place[true != IGNORE_INDEX], minlength=size * num_classes**2).numpy()
    occurring = np.flatnonzero(counts)
    at, pair = np.divmod(occurring, num_classes**2)
    return at, *np.divmod(pair, num_classes), counts[occurring]


def _joined_names(held: Tensor, names: NDArray[np.object_]) -> list[str]:
    return [SEPARATOR.join(names[row]) or NOTHING for row in held.numpy()]


def _confidence(
    task: Task, truth: Tensor, probabilities: Tensor
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Confidence of every answer, and whether it was right."""
    if not task.exclusive:
        said = probabilities > 0.5
        return probabilities.maximum(1 - probabilities).numpy(), (said == (truth > 0)).numpy()
    confidence, said = probabilities.max(1)
    asked = truth != IGNORE_INDEX
    return confidence[asked].numpy(), (said == truth)[asked].numpy()


def _evaluation(
    header: dict[str, Any], task: Task, inputs: str, table: pd.DataFrame, reliability: Reliability
) -> Evaluation:
    groups = np.unique(table["group"].to_numpy(dtype=object))
    counts = tally(table, header["classes"], groups).sum(0)
    overall = {name: float(value) for name, value in scores(counts, task.exclusive).items()}
    columns = {name: values.tolist() for name, values in class_scores(counts).items()}
    by_class = {
        name: {score: columns[score][number] for score in columns}
        for number, name in enumerate(header["classes"])
    }
    return Evaluation(header, task, inputs, overall | {"ECE": reliability.error}, by_class, table)
