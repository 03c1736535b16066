from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from specs import fit_with
from torch import Tensor, nn

from eocontrast.config.pretraining import BackboneParams
from eocontrast.finetuning import loop as finetuning
from eocontrast.finetuning.budgets import Budget, label_budget
from eocontrast.finetuning.forward import PatchInputs
from eocontrast.finetuning.loop import freeze, validation_loss
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.classifiers import Classifier
from eocontrast.models.decoders import DECODERS
from eocontrast.models.model import Model
from eocontrast.models.segmenters import EncoderDecoder
from eocontrast.models.swin_unet import SwinUNet
from eocontrast.models.tasks import TASKS, TaskName
from eocontrast.models.weights import Pretrained
from eocontrast.patches import store as patches
from eocontrast.patches.augment import generator
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.patches.windows import Window
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator, deterministic
from eocontrast.training.health import CollapseError
from eocontrast.training.schedule import warmup_cosine

SINGLE = TASKS["single_label"]


class Points:
    """Inputs beside a store: two coordinates a row, and a linear model."""

    def __init__(self, store: PatchStore, labels: NDArray[np.int64]) -> None:
        deterministic(0)
        self.model: nn.Module = nn.Linear(2, 3)
        self.store = store
        self.labels = torch.from_numpy(labels)
        noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0))
        corners = torch.tensor([[3.0, 0.0], [-3.0, 3.0], [-3.0, -3.0]])
        self.points = corners[self.labels] + 0.3 * noise
        self.asked: list[tuple[Rows, Tensor | None]] = []

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        self.asked.append((rows, None if draws is None else draws.get_state()))
        at = torch.from_numpy(rows)
        logits: Tensor = self.model(self.points[at])
        return logits, self.labels[at]


LABELS = np.arange(60) % 3
BUDGET = Budget(np.arange(40), np.arange(40, 50))


@pytest.fixture
def points(tiny_store: PatchStore) -> Points:
    return Points(tiny_store, LABELS)


# --- the loop


def test_it_learns_what_can_be_learnt(points: Points) -> None:
    history = fit_with(points, SINGLE, BUDGET, epochs=30, lr=0.1)
    assert history[-1]["loss"] < 0.2 * history[0]["loss"]
    logits, labels = points.logits(np.arange(50, 60), None)
    assert torch.equal(logits.argmax(1), labels)


def test_only_the_budget_is_seen_and_only_training_patches_are_viewed(points: Points) -> None:
    fit_with(points, SINGLE, BUDGET, epochs=2)
    viewed = np.concatenate([rows for rows, draws in points.asked if draws is not None])
    whole = np.concatenate([rows for rows, draws in points.asked if draws is None])
    assert set(viewed) == set(BUDGET.train)
    assert set(whole) == set(BUDGET.validation)
    first, second = viewed[:40], viewed[40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first.tolist() != second.tolist()


def test_views_are_a_function_of_seed_and_step(points: Points) -> None:
    fit_with(points, SINGLE, BUDGET, epochs=2, seed=7)
    drawn = [draws for _, draws in points.asked if draws is not None]
    assert len(drawn) == 10
    for step, draws in enumerate(drawn):
        assert torch.equal(draws, generator(7, step).get_state())


@pytest.mark.parametrize(
    ("size", "epochs", "min_steps", "expected"),
    [(40, 3, 1, 3), (40, 3, 80, 16), (41, 1, 11, 3), (4, 1, 10, 10), (3, 2, 1, 2)],
)
def test_small_budgets_get_the_least_number_of_steps(
    points: Points, size: int, epochs: int, min_steps: int, expected: int
) -> None:
    budget = Budget(np.arange(size), np.arange(0))
    history = fit_with(points, SINGLE, budget, epochs=epochs, min_steps=min_steps)
    assert [m["epoch"] for m in history] == list(range(1, expected + 1))
    steps = sum(draws is not None for _, draws in points.asked)
    assert steps == expected * max(1, size // 8) >= min_steps


@pytest.mark.parametrize(
    ("losses", "kept"), [([0.9, 0.1, 0.5], 2), ([0.7, 0.3, 0.3], 3), ([0.1, 0.9, 0.8], 1)]
)
def test_the_epoch_that_validates_best_is_kept_the_later_on_ties(
    points: Points, monkeypatch: pytest.MonkeyPatch, losses: list[float], kept: int
) -> None:
    states: list[dict[str, Tensor]] = []
    given = iter(losses)

    def drawn(*_: object) -> float:
        states.append({n: t.clone() for n, t in points.model.state_dict().items()})
        return next(given)

    monkeypatch.setattr(finetuning, "validation_loss", drawn)
    history = fit_with(points, SINGLE, BUDGET, epochs=3)
    assert [m["val_loss"] for m in history] == losses
    for name, tensor in points.model.state_dict().items():
        assert torch.equal(tensor, states[kept - 1][name])
        assert not torch.equal(tensor, states[kept % 3][name])


def test_last_epoch_without_validation(points: Points, tiny_store: PatchStore) -> None:
    """Steps on a cosine schedule: three epochs end elsewhere than their first two."""
    budget = Budget(np.arange(40), np.arange(0))
    history = fit_with(points, SINGLE, budget, epochs=3)
    assert all("val_loss" not in metrics for metrics in history)
    assert sum(draws is not None for _, draws in points.asked) == 15
    final = float(validation_loss(points, SINGLE, budget.train))
    assert final < history[-1]["loss"]


def test_the_learning_rate_warms_up_for_an_epoch_and_cools_down(
    points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    class Recorder(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:  # noqa: ANN401 - as torch declares it
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "AdamW", Recorder)
    fit_with(points, SINGLE, BUDGET)
    assert used == pytest.approx([0.01 * warmup_cosine(step, 30, 5) for step in range(30)])


def test_a_diverging_run_ends_with_the_reason(points: Points) -> None:
    with pytest.raises(CollapseError, match="lower lr"):
        fit_with(points, SINGLE, BUDGET, lr=1e38, weight_decay=1e3)


def test_two_runs_end_in_the_same_weights_and_another_seed_in_others(
    tiny_store: PatchStore,
) -> None:
    found = []
    for seed in (0, 0, 1):
        inputs = Points(tiny_store, LABELS)
        fit_with(inputs, SINGLE, BUDGET, seed=seed)
        found.append(inputs.model.state_dict()["weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@torch.no_grad()
def test_validation_is_the_mean_loss_whatever_the_chunks(
    points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(0, 60, 2)
    chances = points.logits(rows, None)[0].softmax(1).numpy()
    by_patch = [-np.log(chances[place, LABELS[row]]) for place, row in enumerate(rows)]
    for pixels in (2**20, 7 * 16 * 16):
        monkeypatch.setattr(patches, "PIXELS", pixels)
        found = validation_loss(points, SINGLE, rows)
        assert found == pytest.approx(np.mean(by_patch), rel=1e-5)
    assert max(len(asked) for asked, _ in points.asked[-5:]) == 7


# --- patches


@pytest.fixture
def classifier(tiny_inits: Mapping[str, Path]) -> Classifier:
    deterministic(0)
    init = Pretrained.load(tiny_inits["dual_simclr"])
    return Classifier({sensor: init.backbone(sensor) for sensor in SENSORS}, 3)


@pytest.fixture
def build(
    mixed_store: PatchStore,
    classifier: Classifier,
    swin_inits: Mapping[str, Path],
    tiny_backbones: Mapping[str, BackboneParams],
) -> Callable[[str], Model]:
    """A model by name: two backbones of a pretrained init, or a U-Net from scratch."""

    def new(name: str) -> Model:
        deterministic(0)
        if name == "linear":
            return classifier
        if name == "unet":
            resnet = tiny_backbones["resnet"]
            both = Backbone(Architecture(resnet.name, resnet.options), mixed_store.specs)
            return EncoderDecoder({"s1_s2": both}, 3, DECODERS["unet"], fuse_scales=False)
        init = Pretrained.load(swin_inits["dual_simclr"])
        backbones: dict[str, Backbone] = {s: init.backbone(s) for s in SENSORS}
        return SwinUNet(backbones, 3, fuse_skips=name == "swin_unet_scales")

    return new


def task_of(name: str) -> TaskName:
    return "single_label" if name == "linear" else "segmentation"


def inputs_of(
    model: Model, store: PatchStore, task: TaskName, crop: int = 16, dropout: float = 0.0
) -> PatchInputs:
    return PatchInputs(model, store, TASKS[task], accelerator("no"), crop, dropout)


@torch.no_grad()
def right(inputs: PatchInputs) -> float:
    """Share of right answers about training patches or their pixels; 1/3 is a guess."""
    inputs.model.eval()
    logits, targets = inputs.logits(inputs.store.labelled("train"), None)
    if not inputs.task.exclusive:
        return float(((logits > 0) == (targets > 0)).float().mean())
    known = targets != 255
    return float((logits.argmax(1) == targets)[known].float().mean())


@pytest.mark.parametrize(
    ("name", "dropout"),
    [
        ("linear", 0.0),
        ("linear", 0.3),
        ("unet", 0.0),
        ("swin_unet", 0.0),
        ("swin_unet", 0.3),
        ("swin_unet_scales", 0.0),
    ],
)
def test_every_head_learns(
    mixed_store: PatchStore, build: Callable[[str], Model], name: str, dropout: float
) -> None:
    inputs = inputs_of(build(name), mixed_store, task_of(name), dropout=dropout)
    budget = label_budget(mixed_store, 1.0, 0, 0)
    history = fit_with(inputs, inputs.task, budget, epochs=12, lr=1e-2)
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert right(inputs) > 0.6


def test_several_classes_of_a_patch_are_learnt(
    mixed_store: PatchStore, classifier: Classifier
) -> None:
    inputs = inputs_of(classifier, mixed_store, "multi_label")
    history = fit_with(inputs, inputs.task, label_budget(mixed_store, 1.0, 0, 0.2))
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert right(inputs) > 0.75


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", ["linear", "unet", "swin_unet", "swin_unet_scales"])
def test_frozen_backbones_stay_as_they_were_and_all_else_moves(
    mixed_store: PatchStore, build: Callable[[str], Model], name: str, frozen: bool
) -> None:
    """To the bit, statistics of BatchNorm too; where nothing is frozen, those move as well."""
    model = build(name)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    if frozen:
        freeze(model.backbones)
    inputs = inputs_of(model, mixed_store, task_of(name))
    # ResNet ends its residual branches with a scale of zero: the first step opens them
    fit_with(inputs, inputs.task, label_budget(mixed_store, 1.0, 0, 0), epochs=3)
    same = {n for n, t in model.state_dict().items() if torch.equal(t, before[n])}
    backbones = {n for n in before if n.startswith("backbones.")}
    assert name.startswith("swin") != any(n.endswith("running_mean") for n in backbones)
    assert same == (backbones if frozen else set())


def test_the_statistics_of_pretraining_are_kept_and_all_else_moves(
    mixed_store: PatchStore, build: Callable[[str], Model]
) -> None:
    model = build("linear")
    before = {n: t.clone() for n, t in model.state_dict().items()}
    inputs = inputs_of(model, mixed_store, "single_label")
    budget = label_budget(mixed_store, 1.0, 0, 0)
    fit_with(inputs, inputs.task, budget, epochs=3, keep_statistics=True)
    same = {n for n, t in model.state_dict().items() if torch.equal(t, before[n])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert same == {n for n in before if n.endswith(statistics)}


def test_pixels_that_are_all_ignored_break_nothing(
    mixed_store: PatchStore, build: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crop may hold no pixel with a class, alone in its batch."""
    masks, rows = mixed_store.masks, mixed_store.labelled("train")[:4]

    def ignored(asked: Rows, window: Window | None = None) -> Tensor:
        drawn = masks(asked, window)
        drawn[torch.from_numpy(np.isin(asked, rows[:2]))] = 255
        return drawn

    monkeypatch.setattr(mixed_store, "masks", ignored)
    inputs = inputs_of(build("swin_unet"), mixed_store, "segmentation")
    assert validation_loss(inputs, inputs.task, rows[:2]) == 0
    budget = Budget(rows, rows[:1])
    history = fit_with(inputs, inputs.task, budget, epochs=2, batch_size=1)
    assert all(np.isfinite(list(metrics.values())).all() for metrics in history)
    assert history[0]["loss"] > 0
    assert all(bool(p.isfinite().all()) for p in inputs.model.parameters())


def test_validation_patches_are_whole_and_as_stored(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    inputs = inputs_of(classifier.eval(), tiny_store, "single_label", dropout=0.9)
    rows = tiny_store.labelled("train")
    with torch.no_grad():
        expected = classifier(tiny_store.batch(rows))
        logits, targets = inputs.logits(rows, None)
        viewed, _ = inputs.logits(rows, generator(0))
    torch.testing.assert_close(logits, expected)
    assert targets.tolist() == tiny_store.labels[rows].tolist()
    assert not torch.allclose(viewed, expected)


class Peek(Model):
    """A model that shows what it was given: its logits are the first three bands."""

    def __init__(self, store: PatchStore) -> None:
        super().__init__()
        self.inputs, self.backbones = store.specs, nn.ModuleDict()
        self.seen: list[Batch] = []

    def forward(self, batch: Batch) -> Tensor:
        self.seen.append(batch)
        return batch["s2"][:, :3].float()


def test_masks_are_cropped_and_turned_with_their_images(
    mixed_store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_image(rows: Rows, window: Window | None = None) -> Tensor:
        images = mixed_store.bands("s2", mixed_store.specs["s2"], rows, window)
        return (images[:, :1].int() % 3).to(torch.uint8)

    monkeypatch.setattr(mixed_store, "masks", of_image)
    model = Peek(mixed_store)
    inputs = inputs_of(model, mixed_store, "segmentation", crop=8)
    rows = mixed_store.labelled("train")
    shapes = []
    for draws in (generator(0, 0), generator(0, 1), None):
        logits, masks = inputs.logits(rows, draws)
        shapes.append(tuple(masks.shape))
        assert torch.equal(logits[:, 0].int() % 3, masks.int())
    assert shapes == [(42, 8, 8), (42, 8, 8), (42, 16, 16)]
    assert sorted(model.seen[0]) == ["s1", "s2"]


def missing(batch: Batch) -> dict[str, Tensor]:
    """Which samples hold no data of a sensor, (B,) bool each."""
    nodata = {"s1": -32768, "s2": 65535}
    return {s: (batch[s].int() == nodata[s]).flatten(1).all(1) for s in SENSORS}


def test_a_share_of_training_patches_loses_a_sensor_and_never_both(
    tiny_store: PatchStore,
) -> None:
    model = Peek(tiny_store)
    inputs = inputs_of(model, tiny_store, "single_label", dropout=0.4)
    rows = np.tile(tiny_store.labelled("train"), 50)
    for key in ((0, 1), (0, 1), (0, 2), (1, 1)):
        inputs.logits(rows, generator(*key))
    inputs.logits(rows, None)
    first, again, step, seed, whole = (missing(batch) for batch in model.seen)
    assert not (first["s1"] & first["s2"]).any()
    for sensor in SENSORS:
        # binomial(2100, 0.2): 0.035 is four standard deviations
        assert float(first[sensor].float().mean()) == pytest.approx(0.2, abs=0.035)
        assert torch.equal(first[sensor], again[sensor])
        assert not torch.equal(first[sensor], step[sensor])
        assert not torch.equal(first[sensor], seed[sensor])
        assert not whole[sensor].any()


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-30])
def test_backbones_learn_at_their_own_rate(
    tiny_store: PatchStore, classifier: Classifier, scale: float
) -> None:
    """AdamW's first step moves every parameter by its learning rate, whatever the gradient."""
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    inputs = inputs_of(classifier, tiny_store, "single_label")
    budget = Budget(tiny_store.labelled("train"), np.arange(0))
    one_step: dict[str, Any] = {"epochs": 1, "batch_size": 42, "weight_decay": 0.0}
    fit_with(inputs, SINGLE, budget, lr=0.01, backbone_lr_scale=scale, **one_step)
    moved = {
        n: float((p.detach() - before[n]).abs().max()) for n, p in classifier.named_parameters()
    }
    first = 0.01 * warmup_cosine(0, 1, 1)
    for name, distance in moved.items():
        expected = first * (scale if name.startswith("backbones.") else 1)
        assert distance == pytest.approx(expected, rel=0.05, abs=1e-7), name


def test_a_crop_larger_than_the_patches_is_refused(tiny_store: PatchStore) -> None:
    with pytest.raises(UserError, match="crop is 17, but patches have 16 pixels"):
        inputs_of(Peek(tiny_store), tiny_store, "single_label", crop=17)


def test_segmentation_needs_masks(tiny_store: PatchStore) -> None:
    inputs = inputs_of(Peek(tiny_store), tiny_store, "segmentation")
    with pytest.raises(UserError, match="no masks"):
        inputs.logits(tiny_store.labelled("train"), None)
