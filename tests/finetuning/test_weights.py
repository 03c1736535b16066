from typing import Any

import numpy as np
import pytest
import torch
from specs import fit_with

from eocontrast.finetuning.budgets import Budget
from eocontrast.finetuning.weights import balanced_weights
from eocontrast.models.tasks import TASKS, patch_targets
from eocontrast.patches.store import PatchStore


class Constant(torch.nn.Module):
    """Logits that no image changes."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(classes))


class Answers:
    """Inputs whose model can only learn how frequent the classes are."""

    def __init__(self, store: PatchStore, labels: torch.Tensor) -> None:
        self.model: torch.nn.Module = Constant(len(store.classes))
        self.store, self.labels = store, labels

    def logits(
        self, rows: np.ndarray, draws: torch.Generator | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        bias = self.model.get_parameter("bias")
        return bias.expand(len(rows), -1), self.labels[torch.from_numpy(rows)]


def test_classes_have_equal_mass(mixed_store: PatchStore) -> None:
    rows = mixed_store.labelled("train")
    weights = balanced_weights(mixed_store, TASKS["single_label"], rows)
    labels = torch.tensor(mixed_store.labels[rows])
    counts = torch.bincount(labels, minlength=len(weights)).float()
    mass = (weights * counts)[counts > 0]
    assert float(mass.sum()) == pytest.approx(len(rows))
    torch.testing.assert_close(mass, mass[:1].expand_as(mass))


def test_pixels_have_equal_mass(mixed_store: PatchStore) -> None:
    rows = mixed_store.labelled("train")
    weights = balanced_weights(mixed_store, TASKS["segmentation"], rows)
    pixels = mixed_store.masks(rows)
    counts = torch.bincount(pixels.flatten().long(), minlength=256)[: len(weights)].float()
    mass = (weights * counts)[counts > 0]
    torch.testing.assert_close(mass, mass[:1].expand_as(mass), rtol=1e-4, atol=0)


def test_answers_have_equal_mass(mixed_store: PatchStore) -> None:
    task, rows = TASKS["multi_label"], mixed_store.labelled("train")
    weights = balanced_weights(mixed_store, task, rows)
    targets = patch_targets(mixed_store, task)[torch.from_numpy(rows)]
    positive, negative = targets.sum(0), (1 - targets).sum(0)
    varied = (positive > 0) & (negative > 0)
    assert varied.any()
    torch.testing.assert_close((weights * positive)[varied], negative[varied])


def test_balance_keeps_the_rare_class(mixed_store: PatchStore) -> None:
    task, rows = TASKS["single_label"], mixed_store.labelled("train")
    labels = torch.tensor(mixed_store.labels)
    learnt = {}
    for weights in ("none", "balanced"):
        inputs = Answers(mixed_store, labels)
        recipe: dict[str, Any] = {"class_weights": weights, "epochs": 60, "weight_decay": 0.0}
        fit_with(inputs, task, Budget(rows, rows[:0]), lr=0.1, **recipe)
        learnt[weights] = inputs.model.get_parameter("bias").detach().softmax(0)
    counts = torch.bincount(labels[torch.from_numpy(rows)], minlength=len(learnt["none"]))
    present = counts > 0
    # without weights the frequencies are learnt, with them every class is as likely
    shares = counts / counts.sum()
    torch.testing.assert_close(learnt["none"], shares, atol=0.05, rtol=0)
    even = (present / present.sum()).float()
    torch.testing.assert_close(learnt["balanced"], even, atol=0.05, rtol=0)
