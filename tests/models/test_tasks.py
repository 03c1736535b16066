import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from specs import make_arm
from torch import Tensor

from eocontrast.config.finetuning import Recipes
from eocontrast.evaluation.scores import scores
from eocontrast.finetuning.points import task_of
from eocontrast.models.tasks import TASKS, TaskName, patch_targets
from eocontrast.patches.store import PatchStore

EXCLUSIVE: tuple[TaskName, ...] = ("single_label", "segmentation")


def draws(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


CLASSIFIER = make_arm(fusion="early")
SEGMENTER = make_arm(task="segmentation", head="unet", fusion="early")


@pytest.mark.parametrize("labels", ["single_label", "multi_label"])
def test_an_arm_learns_what_it_does_and_classifiers_what_the_recipe_says(
    tiny_recipes: Recipes, labels: TaskName
) -> None:
    classification = tiny_recipes.classification.model_copy(update={"labels": labels})
    recipes = tiny_recipes.model_copy(update={"classification": classification})
    assert task_of(CLASSIFIER, recipes).name == labels
    assert task_of(SEGMENTER, recipes).name == "segmentation"


@pytest.mark.parametrize("name", TASKS)
def test_arms_are_compared_by_a_score_that_there_is(name: TaskName) -> None:
    task = TASKS[name]
    assert task.name == name
    assert task.metric in scores(np.ones((3, 4)), task.exclusive)


# --- losses, by hand


def test_the_loss_of_classes_is_the_mean_negative_log_probability() -> None:
    logits, targets = draws(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    chosen = [float(-row.log_softmax(0)[k]) for row, k in zip(logits, targets, strict=True)]
    assert float(TASKS["single_label"].loss(logits, targets)) == pytest.approx(np.mean(chosen))


def test_pixels_without_a_class_are_in_no_loss_and_get_no_gradient() -> None:
    logits = draws(2, 3, 5, 5).requires_grad_()
    masks = torch.from_numpy(np.random.default_rng(0).integers(3, size=(2, 5, 5)))
    masks[:, 1:3] = 255
    loss = TASKS["segmentation"].loss(logits, masks.to(torch.uint8))
    losses = [
        float(-logits.detach()[b, :, y, x].log_softmax(0)[masks[b, y, x]])
        for b, y, x in (masks != 255).nonzero().tolist()
    ]
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert not logits.grad[:, :, 1:3].any()
    assert logits.grad[:, :, 0].abs().min() > 0


def test_pixels_that_are_all_ignored_cost_nothing() -> None:
    """A mean over none of them would be NaN and end the training."""
    logits = draws(2, 3, 4, 4).requires_grad_()
    loss = TASKS["segmentation"].loss(logits, torch.full((2, 4, 4), 255, dtype=torch.uint8))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_loss_of_several_classes_is_that_of_yes_or_no_decisions() -> None:
    logits, targets = draws(5, 3), (draws(5, 3) > 0).float()
    decisions = [
        -math.log(1 / (1 + math.exp(-z if t else z)))
        for z, t in zip(logits.ravel().tolist(), targets.ravel().tolist(), strict=True)
    ]
    assert float(TASKS["multi_label"].loss(logits, targets)) == pytest.approx(np.mean(decisions))


def test_weighted_loss_of_classes() -> None:
    logits, weights = draws(2, 3, 5, 5), torch.tensor([0.5, 2.0, 1.5])
    masks = torch.from_numpy(np.random.default_rng(0).integers(3, size=(2, 5, 5)))
    masks[:, 1] = 255
    rows = [
        (float(weights[masks[b, y, x]]), float(-logits[b, :, y, x].log_softmax(0)[masks[b, y, x]]))
        for b, y, x in (masks != 255).nonzero().tolist()
    ]
    expected = sum(w * loss for w, loss in rows) / sum(w for w, _ in rows)
    assert float(TASKS["segmentation"].loss(logits, masks, weights)) == pytest.approx(expected)
    ignored = torch.full_like(masks, 255)
    assert float(TASKS["segmentation"].loss(logits, ignored, weights)) == 0


def test_weighted_loss_of_decisions() -> None:
    logits, targets, weights = draws(5, 3), (draws(5, 3) > 0).float(), torch.tensor([1.0, 3.0, 9.0])
    decisions = targets * weights * F.softplus(-logits) + (1 - targets) * F.softplus(logits)
    loss = TASKS["multi_label"].loss(logits, targets, weights)
    assert float(loss) == pytest.approx(float(decisions.mean()), rel=1e-5)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5, 6)])
def test_probabilities_sum_to_one_where_one_class_is_right(shape: tuple[int, ...]) -> None:
    logits = draws(*shape)
    for name in EXCLUSIVE:
        found = TASKS[name].probabilities(logits)
        assert torch.allclose(found.sum(1), torch.ones(shape[0], *shape[2:]))
        assert torch.equal(found.argmax(1), logits.argmax(1))
    found = TASKS["multi_label"].probabilities(logits)
    assert torch.allclose(found, 1 / (1 + torch.exp(-logits)))


# --- targets


@pytest.mark.parametrize("name", EXCLUSIVE)
def test_targets_are_the_stores_labels(tiny_store: PatchStore, name: TaskName) -> None:
    targets = patch_targets(tiny_store, TASKS[name])
    assert targets.tolist() == tiny_store.labels.tolist()
    assert int(targets.min()) == -1


def test_a_patch_with_a_class_name_holds_that_class(tiny_store: PatchStore) -> None:
    targets = patch_targets(tiny_store, TASKS["multi_label"])
    assert targets.dtype == torch.float32
    assert targets.shape == (72, 3)
    for row, label in zip(targets.tolist(), tiny_store.labels.tolist(), strict=True):
        assert row == [float(number == label) for number in range(3)]


def test_a_patch_with_a_mask_holds_what_covers_a_tenth_of_it(mixed_store: PatchStore) -> None:
    targets = patch_targets(mixed_store, TASKS["multi_label"])
    rows = np.arange(len(mixed_store.index))
    for held, mask in zip(targets, mixed_store.masks(rows), strict=True):
        covered = [float((mask == number).sum()) / mask.numel() for number in range(3)]
        assert held.tolist() == [float(share >= 0.1) for share in covered]
    assert set(targets.sum(1).tolist()) == {1, 2}
