"""The one reader of the test split: whole patches, scored from one confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from eocontrast.classifiers import STREAMS, Classifier, classifier_from_header
from eocontrast.errors import UserError
from eocontrast.patches import PatchStore, chunks
from eocontrast.subsets import Rows
from eocontrast.weights import load_weights


@dataclass(frozen=True)
class Evaluation:
    """Scores of one point, and what it said of every test patch."""

    header: dict[str, Any]
    scores: dict[str, float]
    recall: dict[str, float]
    confusion: NDArray[np.int64]
    predictions: pd.DataFrame

    @property
    def inputs(self) -> str:
        """The sensors that the model was given."""
        return "+".join(sorted({s for stream in STREAMS[self.header["fusion"]] for s in stream}))


def evaluate(weights: Path, store: PatchStore, device: Accelerator) -> Evaluation:
    """Score a fine-tuned file on the test split of `store`.

    Raises:
        UserError: no labelled test patches, or classes that differ from the model's.
    """
    tensors, header = load_weights(weights)
    if "classes" not in header:
        raise UserError(f"{weights} holds no classifier: fine-tune it first")
    if list(store.classes) != header["classes"]:
        raise UserError(
            f"{weights} tells apart {header['classes']}, but {store.folder} holds "
            f"{list(store.classes)}: fine-tune on this data first"
        )
    rows = store.labelled("test")
    if len(rows) == 0:
        raise UserError(f"{store.folder} has no labelled patch in the split test")
    classifier = classifier_from_header(header)
    classifier.load_state_dict(tensors)
    probabilities = predict(classifier, store, rows, device)
    labels = store.labels[rows]
    confusion = confusion_matrix(labels, probabilities)
    recall = class_recall(confusion)
    named = {name: float(r) for name, r in zip(store.classes, recall, strict=True)}
    table = pd.DataFrame(
        {
            "id": store.index["id"].to_numpy()[rows],
            "group": store.groups[rows],
            "label": labels,
            "prediction": probabilities.argmax(1),
            # four digits: below the rounding of bfloat16
            "confidence": probabilities.max(1).round(4),
        }
    )
    scores = scores_of(confusion) | {"ECE": calibration_error(labels, probabilities)}
    return Evaluation(header, scores, named, confusion, table)


def predict(
    classifier: Classifier, store: PatchStore, rows: Rows, device: Accelerator
) -> NDArray[np.float64]:
    """Class probabilities of whole patches, (n, num_classes)."""
    classifier.to(device.device).eval()
    found = []
    for chunk in chunks(rows):
        batch = store.batch(chunk, classifier.inputs)
        batch = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
        with torch.no_grad(), device.autocast():
            logits = classifier(batch)
        found.append(logits.double().softmax(1).cpu())
    return torch.cat(found).numpy()


def confusion_matrix(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Counts by (true class, predicted class), shape (C, C)."""
    predicted, truth = torch.from_numpy(probabilities.argmax(1)), torch.from_numpy(labels)
    matrix = multiclass_confusion_matrix(predicted, truth, probabilities.shape[1])
    return np.asarray(matrix.numpy(), dtype=np.int64)


def calibration_error(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = 15
) -> float:
    """Expected calibration error over equal-width bins (Guo et al. 2017, eq. 3)."""
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    return float(multiclass_calibration_error(scores, truth, probabilities.shape[1], bins))


def class_recall(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class's patches that were found, (C,); NaN for a class that does not occur."""
    support = confusion.sum(1)
    return np.where(support > 0, np.diag(confusion) / np.maximum(support, 1), np.nan)


def scores_of(confusion: NDArray[np.int64]) -> dict[str, float]:
    """Scores over the data set; a class without test patches is left out of every mean.

    `AA` is the mean of the per-class recall, `OA` the accuracy (which equals micro F1 where every
    patch has one label), `macro_F1` the mean of the per-class F1.
    """
    hits, support, called = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    present = support > 0
    f1 = 2 * hits / np.maximum(support + called, 1)
    return {
        "AA": float(np.mean(hits[present] / support[present])),
        "OA": float(hits.sum() / confusion.sum()),
        "macro_F1": float(f1[present].mean()),
        "micro_F1": float(hits.sum() / confusion.sum()),
    }
