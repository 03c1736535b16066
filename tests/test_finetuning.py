from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from eocontrast import finetuning, patches
from eocontrast.classifiers import Classifier, new_classifier
from eocontrast.devices import accelerator, deterministic
from eocontrast.errors import UserError
from eocontrast.finetuning import (
    Budget,
    FeatureInputs,
    PatchInputs,
    Training,
    embed,
    fit,
    label_budget,
    validate,
)
from eocontrast.health import CollapseError
from eocontrast.patches import PatchStore
from eocontrast.schedules import warmup_cosine
from eocontrast.subsets import Rows
from eocontrast.weights import Pretrained

TRAINING = Training(
    epochs=6,
    min_steps=1,
    batch_size=8,
    weight_decay=0.01,
    lr=0.01,
    backbone_lr_scale=1.0,
    seed=0,
)


def trained(**changes: Any) -> Training:  # noqa: ANN401 - any field of Training
    return Training(**{**vars(TRAINING), **changes})


class Points:
    """Inputs without a store: two coordinates a row, and a linear model."""

    def __init__(self, labels: NDArray[np.int64]) -> None:
        deterministic(0)
        self.model: nn.Module = nn.Linear(2, 3)
        noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0))
        corners = torch.tensor([[3.0, 0.0], [-3.0, 3.0], [-3.0, -3.0]])
        self.points = corners[torch.from_numpy(labels)] + 0.3 * noise
        self.asked: list[tuple[Rows, bool]] = []

    def logits(self, rows: Rows, draws: torch.Generator | None) -> Tensor:
        self.asked.append((rows, draws is not None))
        logits: Tensor = self.model(self.points[torch.from_numpy(rows)])
        return logits


LABELS = np.arange(60) % 3
BUDGET = Budget(np.arange(40), np.arange(40, 50))


# --- the label budget


@pytest.mark.parametrize("fraction", [0.2, 0.5, 1.0])
def test_a_budget_is_of_the_labelled_training_patches(
    tiny_store: PatchStore, fraction: float
) -> None:
    budget = label_budget(tiny_store, fraction, seed=0, val_fraction=0.2)
    rows = [*budget.train, *budget.validation]
    assert len(set(rows)) == len(rows) == budget.n_labels == round(fraction * 42)
    assert set(rows) <= set(tiny_store.labelled("train"))
    assert set(tiny_store.labels[budget.train]) == {0, 1, 2}
    train, validation = (tiny_store.groups[r] for r in (budget.train, budget.validation))
    assert not set(train) & set(validation)
    assert len(validation) <= 0.2 * len(rows)


def test_validation_labels_are_paid_for(tiny_store: PatchStore) -> None:
    budget = label_budget(tiny_store, 1.0, seed=0, val_fraction=0.2)
    assert len(budget.validation) > 0
    assert budget.n_labels == len(budget.train) + len(budget.validation) == 42


def test_a_store_without_labels_to_train_on_is_refused(tiny_store: PatchStore) -> None:
    tiny_store.index.loc[tiny_store.index["split"] == "train", "label"] = -1
    with pytest.raises(UserError):
        label_budget(tiny_store, 1.0, seed=0, val_fraction=0.2)


# --- the loop


def test_it_learns_what_can_be_learnt() -> None:
    inputs = Points(LABELS)
    history = list(fit(inputs, LABELS, BUDGET, trained(epochs=30, lr=0.1)))
    assert history[-1]["loss"] < 0.2 * history[0]["loss"]
    assert validate(inputs, LABELS, np.arange(50, 60))["val_AA"] == 1


def test_only_the_budget_is_seen_and_only_training_patches_are_viewed() -> None:
    inputs = Points(LABELS)
    list(fit(inputs, LABELS, BUDGET, trained(epochs=2)))
    viewed = np.concatenate([rows for rows, is_view in inputs.asked if is_view])
    whole = np.concatenate([rows for rows, is_view in inputs.asked if not is_view])
    assert set(viewed) == set(BUDGET.train)
    assert set(whole) == set(BUDGET.validation)
    first, second = viewed[:40], viewed[40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("size", "epochs", "min_steps", "expected"),
    [(40, 3, 1, 3), (40, 3, 80, 16), (41, 1, 11, 3), (4, 1, 10, 10), (3, 2, 1, 2)],
)
def test_small_budgets_get_the_least_number_of_steps(
    size: int, epochs: int, min_steps: int, expected: int
) -> None:
    inputs = Points(LABELS)
    budget = Budget(np.arange(size), np.arange(0))
    history = list(fit(inputs, LABELS, budget, trained(epochs=epochs, min_steps=min_steps)))
    assert [m["epoch"] for m in history] == list(range(1, expected + 1))
    steps = sum(is_view for _, is_view in inputs.asked)
    assert steps == expected * max(1, size // 8) >= min_steps


@pytest.mark.parametrize(
    ("losses", "kept"), [([0.9, 0.1, 0.5], 2), ([0.7, 0.3, 0.3], 3), ([0.1, 0.9, 0.8], 1)]
)
def test_the_epoch_that_validates_best_is_kept_the_later_on_ties(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], kept: int
) -> None:
    inputs, states, given = Points(LABELS), [], iter(losses)

    def drawn(*_: object) -> dict[str, float]:
        states.append({n: t.clone() for n, t in inputs.model.state_dict().items()})
        return {"val_loss": next(given)}

    monkeypatch.setattr(finetuning, "validate", drawn)
    history = list(fit(inputs, LABELS, BUDGET, trained(epochs=3)))
    assert [m["val_loss"] for m in history] == losses
    for name, tensor in inputs.model.state_dict().items():
        assert torch.equal(tensor, states[kept - 1][name])
        assert not torch.equal(tensor, states[kept % 3][name])


def test_without_validation_the_last_epoch_is_kept() -> None:
    inputs, states = Points(LABELS), []
    for metrics in fit(inputs, LABELS, Budget(np.arange(40), np.arange(0)), trained(epochs=3)):
        assert "val_loss" not in metrics
        states.append(inputs.model.state_dict()["weight"].clone())
    assert torch.equal(inputs.model.state_dict()["weight"], states[-1])
    assert not torch.equal(states[-1], states[-2])


def test_the_learning_rate_warms_up_for_an_epoch_and_cools_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[float] = []

    class Recorder(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:  # noqa: ANN401 - as torch declares it
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    list(fit(Points(LABELS), LABELS, BUDGET, TRAINING))
    assert used == pytest.approx([0.01 * warmup_cosine(step, 30, 5) for step in range(30)])


def test_a_diverging_run_ends_with_the_reason() -> None:
    with pytest.raises(CollapseError, match="lower lr"):
        list(fit(Points(LABELS), LABELS, BUDGET, trained(lr=1e38, weight_decay=1e3)))


def test_two_runs_end_in_the_same_weights_and_another_seed_in_others() -> None:
    found = []
    for seed in (0, 0, 1):
        inputs = Points(LABELS)
        list(fit(inputs, LABELS, BUDGET, trained(seed=seed)))
        found.append(inputs.model.state_dict()["weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_validation_is_mean_loss_and_balanced_accuracy() -> None:
    labels = np.repeat([0, 1, 2], [40, 15, 5])
    inputs = Points(labels)
    rows = np.arange(0, 60, 2)
    predicted = inputs.logits(rows, None).argmax(1).numpy()
    expected = balanced_accuracy_score(labels[rows], predicted)
    found = validate(inputs, labels, rows)
    assert found["val_AA"] == pytest.approx(expected)
    chances = inputs.logits(rows, None).detach().softmax(1).numpy()
    by_patch = [-np.log(chances[place, labels[row]]) for place, row in enumerate(rows)]
    assert found["val_loss"] == pytest.approx(np.mean(by_patch), rel=1e-5)


def test_validation_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Points(LABELS)
    whole = validate(inputs, LABELS, np.arange(60))
    monkeypatch.setattr(patches, "CHUNK", 7)
    assert validate(inputs, LABELS, np.arange(60)) == pytest.approx(whole)


# --- patches


@pytest.fixture
def classifier(tiny_inits: dict[str, Path]) -> Classifier:
    deterministic(0)
    return new_classifier(Pretrained.load(tiny_inits["dual_simclr"]), "late", 3)


def test_classes_of_the_store_are_learnt(tiny_store: PatchStore, classifier: Classifier) -> None:
    inputs = PatchInputs(classifier, tiny_store, accelerator("no"), 16)
    budget = label_budget(tiny_store, 1.0, 0, 0.2)
    list(fit(inputs, tiny_store.labels, budget, trained(epochs=30)))
    found = validate(inputs, tiny_store.labels, tiny_store.labelled("test"))
    assert found["val_AA"] > 0.8


def test_validation_patches_are_whole_and_as_stored(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    inputs = PatchInputs(classifier.eval(), tiny_store, accelerator("no"), 16)
    rows = tiny_store.labelled("train")
    with torch.no_grad():
        expected = classifier(tiny_store.batch(rows))
        torch.testing.assert_close(inputs.logits(rows, None), expected)
        viewed = inputs.logits(rows, torch.Generator().manual_seed(0))
    assert not torch.allclose(viewed, expected)


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-30])
def test_backbones_learn_at_their_own_rate(
    tiny_store: PatchStore, classifier: Classifier, scale: float
) -> None:
    """AdamW's first step moves every parameter by its learning rate, whatever the gradient."""
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    inputs = PatchInputs(classifier, tiny_store, accelerator("no"), 16)
    budget = Budget(tiny_store.labelled("train"), np.arange(0))
    one_step = trained(epochs=1, batch_size=42, lr=0.01, backbone_lr_scale=scale, weight_decay=0)
    list(fit(inputs, tiny_store.labels, budget, one_step))
    moved = {
        n: float((p.detach() - before[n]).abs().max()) for n, p in classifier.named_parameters()
    }
    first = 0.01 * warmup_cosine(0, 1, 1)
    for name, distance in moved.items():
        expected = first * (scale if name.startswith("backbones.") else 1)
        assert distance == pytest.approx(expected, rel=0.05, abs=1e-7), name


# --- features of frozen backbones


def test_features_are_those_of_the_backbones_at_rest(
    tiny_store: PatchStore, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny_store.labelled("train")[::-1].copy()
    state = {name: t.clone() for name, t in classifier.state_dict().items()}
    monkeypatch.setattr(patches, "CHUNK", 5)
    features = embed(classifier, tiny_store, rows, accelerator("no"))
    with torch.no_grad():
        expected = classifier.eval().features(tiny_store.batch(rows))
    assert list(features) == rows.tolist()
    torch.testing.assert_close(torch.stack(list(features.values())), expected)
    assert all(torch.equal(t, state[name]) for name, t in classifier.state_dict().items())


def test_a_folded_head_gives_the_same_logits_from_features_as_they_come() -> None:
    table = 5 + 100 * torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    head = nn.Linear(6, 3)
    inputs = FeatureInputs(head, dict(enumerate(table)), np.arange(10))
    torch.testing.assert_close(inputs.mean, table[:10].mean(0))
    with torch.no_grad():
        before = inputs.logits(np.arange(20), None)
        inputs.fold(head)
        torch.testing.assert_close(head(table), before, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("constant", [0.0, 7.0])
def test_a_feature_that_is_constant_in_the_budget_does_not_drown_the_others(
    constant: float,
) -> None:
    """A ReLU that a few patches never open is open elsewhere: nothing was learnt of it."""
    table = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    table[:10, 3] = constant
    torch.manual_seed(0)
    head = nn.Linear(6, 3)
    inputs = FeatureInputs(head, dict(enumerate(table)), np.arange(10))
    with torch.no_grad():
        before = inputs.logits(np.arange(20), None)
        assert before.abs().max() < 100
        inputs.fold(head)
        torch.testing.assert_close(head(table), before, rtol=1e-4, atol=1e-3)
