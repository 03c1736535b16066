from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from specs import fit_with
from torch import Tensor, nn

from eocontrast.finetuning.budgets import label_budget
from eocontrast.finetuning.forward import FeatureInputs
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Backbone
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.features import Features, embed
from eocontrast.models.model import drawn_missing
from eocontrast.models.tasks import TASKS, TaskName, patch_targets
from eocontrast.models.weights import Pretrained
from eocontrast.patches import store as patches
from eocontrast.patches.augment import generator
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.training.devices import accelerator, deterministic

NODATA = {"s1": -32768, "s2": 65535}


@pytest.fixture
def backbones(tiny_inits: Mapping[str, Path]) -> dict[str, Backbone]:
    init = Pretrained.load(tiny_inits["dual_simclr"])
    return {sensor: init.backbone(sensor) for sensor in SENSORS}


@pytest.fixture
def classifier(backbones: dict[str, Backbone]) -> Classifier:
    deterministic(0)
    return Classifier(backbones, 3)


def feature_inputs(
    classifier: Classifier, store: PatchStore, dropout: float = 0.0, task: TaskName = "single_label"
) -> FeatureInputs:
    train = store.labelled("train")
    features = embed(classifier, store, train, accelerator("no"))
    targets = patch_targets(store, TASKS[task])
    return FeatureInputs(classifier, store, features, targets, train, dropout)


# --- features


def test_features_are_those_of_the_backbones_at_rest(
    tiny_store: PatchStore, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny_store.labelled("train")[::-1].copy()
    state = {name: t.clone() for name, t in classifier.state_dict().items()}
    monkeypatch.setattr(patches, "PIXELS", 5 * 16 * 16)
    features = embed(classifier, tiny_store, rows, accelerator("no"))
    with torch.no_grad():
        expected = classifier.eval().streams(tiny_store.batch(rows))
    torch.testing.assert_close(features.of(rows), expected)
    assert all(torch.equal(t, state[name]) for name, t in classifier.state_dict().items())


def test_features_are_found_by_row_of_the_store(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    rows = tiny_store.labelled("train")
    features = embed(classifier, tiny_store, rows, accelerator("no"))
    asked = rows[[7, 2, 2, 40]]
    with torch.no_grad():
        expected = classifier.eval().streams(tiny_store.batch(asked))
    torch.testing.assert_close(features.of(asked), expected)


def without_data(batch: Batch, size: int) -> Batch:
    return {
        s: torch.full((size, *batch[s].shape[1:]), NODATA[s], dtype=batch[s].dtype) for s in SENSORS
    }


def test_an_absent_sensor_is_a_patch_without_any_data(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    rows = tiny_store.labelled("train")
    features = embed(classifier, tiny_store, rows, accelerator("no"))
    with torch.no_grad():
        expected = classifier.eval().streams(without_data(tiny_store.batch(rows), 1))
    torch.testing.assert_close(features.absent, expected)


# --- the head's inputs


def test_a_budgets_features_have_zero_mean_and_unit_variance(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    inputs = feature_inputs(classifier, tiny_store)
    classifier.head.weight.data = torch.eye(3, 32)
    nn.init.zeros_(classifier.head.bias)
    rows = tiny_store.labelled("train")
    logits, targets = inputs.logits(rows, None)
    torch.testing.assert_close(logits.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    spread = logits.std(0, correction=0)
    varied = inputs.sd[:3].isfinite()
    torch.testing.assert_close(spread, varied.float(), rtol=0, atol=1e-4)
    assert targets.tolist() == tiny_store.labels[rows].tolist()


@pytest.mark.parametrize("dropout", [0.5, 0.99])
def test_a_dropped_sensor_has_the_features_of_a_patch_without_data(
    tiny_store: PatchStore, classifier: Classifier, dropout: float
) -> None:
    """What patches would give, had their pixels been emptied before the backbones saw them."""
    inputs = feature_inputs(classifier, tiny_store, dropout)
    rows = tiny_store.labelled("train")
    batch = tiny_store.batch(rows)
    lost = drawn_missing(len(rows), tiny_store.specs, dropout, generator(0, 3))
    empty = without_data(batch, len(rows))
    emptied: Batch = {
        s: torch.where(lost[s][:, None, None, None], empty[s], batch[s]) for s in SENSORS
    }
    assert all(0 < int(lost[sensor].sum()) < len(rows) for sensor in SENSORS)
    with torch.no_grad():
        streams = classifier.eval().streams(emptied)
        joined = torch.cat([streams[s] for s in SENSORS], dim=1)
        expected = classifier.head((joined - inputs.mean) / inputs.sd)
        found, _ = inputs.logits(rows, generator(0, 3))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_dropout_is_a_function_of_seed_and_step_and_spares_validation(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    rows = tiny_store.labelled("train")
    inputs = feature_inputs(classifier, tiny_store, 0.5)
    first, again, step, seed, whole = (
        inputs.logits(rows, draws)[0]
        for draws in (generator(0, 3), generator(0, 3), generator(0, 4), generator(1, 3), None)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, step)
    assert not torch.equal(first, seed)
    without = feature_inputs(classifier, tiny_store)
    assert torch.equal(whole, without.logits(rows, None)[0])
    assert torch.equal(whole, without.logits(rows, generator(0, 3))[0])


# --- folding


def table_inputs(table: Tensor) -> tuple[nn.Linear, FeatureInputs]:
    """A head on 20 given rows, of which the first 10 are the budget."""
    torch.manual_seed(0)
    head, store = nn.Linear(6, 3), None  # a table needs none
    features = Features(np.arange(20), {"s1": table}, {"s1": table[:1]})
    classifier: Any = SimpleNamespace(head=head, inputs={})
    return head, FeatureInputs(classifier, store, features, torch.zeros(20), np.arange(10), 0.0)  # type: ignore[arg-type]


@torch.no_grad()
def test_a_folded_head_gives_the_same_logits_from_features_as_they_come() -> None:
    table = 5 + 100 * torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    head, inputs = table_inputs(table)
    torch.testing.assert_close(inputs.mean, table[:10].mean(0))
    before, _ = inputs.logits(np.arange(20), None)
    inputs.fold(head)
    torch.testing.assert_close(head(table), before, rtol=1e-4, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_a_feature_that_is_constant_in_the_budget_does_not_drown_the_others(
    constant: float,
) -> None:
    """A ReLU that a few patches never open is open elsewhere: nothing was learnt of it."""
    table = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    table[:10, 3] = constant
    head, inputs = table_inputs(table)
    before, _ = inputs.logits(np.arange(20), None)
    assert before.abs().max() < 100
    inputs.fold(head)
    torch.testing.assert_close(head(table), before, rtol=1e-4, atol=1e-3)


# --- what is learnt


@torch.no_grad()
def right(classifier: nn.Module, store: PatchStore, task: TaskName, split: str) -> float:
    """Share of right answers: a guess is right of 1/3 of patches, and of 1/2 of their classes."""
    rows = store.labelled(split)
    logits = classifier.eval()(store.batch(rows))
    targets = patch_targets(store, TASKS[task])[torch.from_numpy(rows)]
    if TASKS[task].exclusive:
        return float((logits.argmax(1) == targets).float().mean())
    return float(((logits > 0) == (targets > 0)).float().mean())


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_head_learns_and_its_backbones_stay_as_they_were(
    mixed_store: PatchStore, classifier: Classifier, task: TaskName, dropout: float
) -> None:
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    inputs = feature_inputs(classifier, mixed_store, dropout, task)
    budget = label_budget(mixed_store, 1.0, 0, 0.0)
    history = fit_with(inputs, TASKS[task], budget, epochs=60)
    inputs.fold(classifier.head)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert right(classifier, mixed_store, task, "train") > 0.7
    moved = {n for n, t in classifier.state_dict().items() if not torch.equal(t, before[n])}
    assert moved == {"head.weight", "head.bias"}


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_neighbours_know_more_than_chance(
    mixed_store: PatchStore, backbones: dict[str, Backbone], task: TaskName
) -> None:
    exclusive = TASKS[task].exclusive
    model = NeighbourClassifier(backbones, 42, 3, 5, 0.1, exclusive)
    rows: NDArray[np.int64] = mixed_store.labelled("train")
    features = embed(model, mixed_store, rows, accelerator("no"))
    votes = patch_targets(mixed_store, TASKS[task])[torch.from_numpy(rows)]
    model.remember(features.of(rows), nn.functional.one_hot(votes, 3) if exclusive else votes)
    assert right(model, mixed_store, task, "test") > 0.6
