import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    recall_score,
)
from sklearn.metrics import (
    confusion_matrix as reference_matrix,
)

from eocontrast import patches
from eocontrast.devices import accelerator
from eocontrast.errors import UserError
from eocontrast.evaluation import (
    Evaluation,
    calibration_error,
    class_recall,
    confusion_matrix,
    evaluate,
    scores_of,
)
from eocontrast.params import Arm, Recipe
from eocontrast.patches import PatchStore
from eocontrast.points import Job, train_point


def predictions(
    seed: int, size: int = 300, absent: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels of five classes and probabilities that are right more often than not."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, size, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    if absent is not None:
        labels[labels == absent] = (absent + 1) % 5
    logits = rng.normal(size=(size, 5)) + 1.5 * np.eye(5)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, probabilities


# --- scores


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_sklearns(seed: int) -> None:
    labels, probabilities = predictions(seed)
    predicted = probabilities.argmax(1)
    confusion = confusion_matrix(labels, probabilities)
    np.testing.assert_array_equal(confusion, reference_matrix(labels, predicted))
    scores = scores_of(confusion)
    assert scores["AA"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert scores["OA"] == pytest.approx(accuracy_score(labels, predicted))
    assert scores["macro_F1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores["micro_F1"] == pytest.approx(f1_score(labels, predicted, average="micro"))
    recall = recall_score(labels, predicted, average=None)
    np.testing.assert_allclose(class_recall(confusion), recall)


@pytest.mark.parametrize("absent", range(5))
def test_a_class_without_test_patches_is_left_out_of_the_means(absent: int) -> None:
    labels, probabilities = predictions(0, absent=absent)
    predicted = probabilities.argmax(1)
    assert (predicted == absent).any()
    present = [k for k in range(5) if k != absent]
    confusion = confusion_matrix(labels, probabilities)
    recall = class_recall(confusion)
    assert math.isnan(recall[absent])
    scores = scores_of(confusion)
    assert scores["AA"] == pytest.approx(np.nanmean(recall))
    expected = f1_score(labels, predicted, labels=present, average="macro")
    assert scores["macro_F1"] == pytest.approx(expected)


def test_a_class_that_is_never_found_counts_as_zero() -> None:
    confusion = np.array([[3, 0], [2, 0]])
    assert class_recall(confusion).tolist() == [1, 0]
    assert scores_of(confusion)["AA"] == 0.5
    assert scores_of(confusion)["macro_F1"] == pytest.approx((6 / 8 + 0) / 2)


@pytest.mark.parametrize("bins", [5, 15])
@pytest.mark.parametrize("seed", range(3))
def test_the_calibration_error_is_guos(seed: int, bins: int) -> None:
    labels, probabilities = predictions(seed)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            gap = abs(hit[inside].mean() - confidence[inside].mean())
            error += gap * inside.sum() / len(labels)
    assert calibration_error(labels, probabilities, bins) == pytest.approx(error, abs=1e-6)


def test_certain_and_right_is_calibrated_certain_and_wrong_is_not() -> None:
    labels = np.arange(12) % 3
    assert calibration_error(labels, np.eye(3)[labels]) == pytest.approx(0, abs=1e-6)
    assert calibration_error(labels, np.eye(3)[(labels + 1) % 3]) == pytest.approx(1, abs=1e-6)


# --- a point


@pytest.fixture(scope="module")
def weights(
    tiny_folder: Path,
    tiny_inits: dict[str, Path],
    tiny_recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A late-fusion classifier."""
    arm = Arm(init="dual_simclr", fusion="late", frozen=False, lr=3e-3, backbone_lr_scale=1.0)
    out = tmp_path_factory.mktemp("point")
    recipe = tiny_recipe.model_copy(update={"min_steps": 40})
    return train_point(
        Job(tiny_folder, tiny_inits["dual_simclr"], arm, recipe, 1.0, 0, "no", out)
    ).file


def evaluated(weights: Path, store: PatchStore) -> Evaluation:
    return evaluate(weights, store, accelerator("no"))


def test_every_test_patch_is_predicted_once(weights: Path, tiny_store: PatchStore) -> None:
    found = evaluated(weights, tiny_store)
    rows = tiny_store.labelled("test")
    assert list(found.predictions["id"]) == list(tiny_store.index["id"].to_numpy()[rows])
    assert list(found.predictions["group"]) == list(tiny_store.groups[rows])
    assert list(found.predictions["label"]) == list(tiny_store.labels[rows])
    assert found.confusion.sum() == len(rows) == 18


def test_scores_are_those_of_the_predictions(weights: Path, tiny_store: PatchStore) -> None:
    found = evaluated(weights, tiny_store)
    labels, predicted = found.predictions["label"], found.predictions["prediction"]
    assert found.scores["OA"] == pytest.approx((labels == predicted).mean())
    assert found.scores["AA"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found.scores["AA"] > 0.6  # bright bands tell the classes apart
    assert list(found.recall) == ["Forest", "Urban", "Water"]
    assert found.recall["Urban"] == pytest.approx((predicted[labels == 1] == 1).mean())
    assert set(found.scores) == {"AA", "OA", "macro_F1", "micro_F1", "ECE"}
    assert found.inputs == "s1+s2"


def test_it_is_deterministic_and_does_not_depend_on_the_chunks(
    weights: Path, tiny_store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = evaluated(weights, tiny_store), evaluated(weights, tiny_store)
    assert first.predictions.equals(again.predictions)
    assert first.scores == again.scores
    monkeypatch.setattr(patches, "CHUNK", 7)
    chunked = evaluated(weights, tiny_store)
    np.testing.assert_array_equal(first.confusion, chunked.confusion)
    np.testing.assert_allclose(
        first.predictions["confidence"], chunked.predictions["confidence"], atol=2e-4
    )


def test_only_the_test_split_is_read(
    weights: Path, tiny_store: PatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    batch = PatchStore.batch

    def watched(store: PatchStore, rows: NDArray[np.int64], *sensors: object) -> object:
        asked.extend(rows.tolist())
        return batch(store, rows, *sensors)  # type: ignore[arg-type]

    monkeypatch.setattr(PatchStore, "batch", watched)
    evaluated(weights, tiny_store)
    assert sorted(asked) == tiny_store.labelled("test").tolist()


def test_statistics_are_those_the_model_was_trained_with(
    weights: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    """Another store has other statistics; the model keeps those in its header."""
    folder = shutil.copytree(tiny_folder, tmp_path / "store")
    before = evaluated(weights, PatchStore(folder))
    stats = json.loads((folder / "stats.json").read_text())
    stats["s2"]["mean"] = [2 * mean for mean in stats["s2"]["mean"]]
    (folder / "stats.json").write_text(json.dumps(stats))
    shifted = PatchStore(folder)
    assert shifted.specs != PatchStore(tiny_folder).specs
    assert evaluated(weights, shifted).predictions.equals(before.predictions)


def test_an_absent_class_has_no_recall(weights: Path, tiny_store: PatchStore) -> None:
    index = tiny_store.index
    index.loc[(index["split"] == "test") & (index["label"] == 1), "label"] = -1
    found = evaluated(weights, tiny_store)
    assert len(found.predictions) == 12
    assert math.isnan(found.recall["Urban"])
    assert found.scores["AA"] == pytest.approx((found.recall["Forest"] + found.recall["Water"]) / 2)


def test_a_store_of_other_classes_is_refused(weights: Path, tiny_store: PatchStore) -> None:
    tiny_store.classes = ("Forest", "Water")
    with pytest.raises(UserError, match=r"Urban.*fine-tune on this data first"):
        evaluated(weights, tiny_store)


def test_a_store_without_test_labels_is_refused(weights: Path, tiny_store: PatchStore) -> None:
    tiny_store.index.loc[tiny_store.index["split"] == "test", "label"] = -1
    with pytest.raises(UserError, match="no labelled patch in the split test"):
        evaluated(weights, tiny_store)


def test_pretrained_backbones_are_no_classifier(
    tiny_inits: dict[str, Path], tiny_store: PatchStore
) -> None:
    with pytest.raises(UserError, match=r"dual_simclr\.safetensors"):
        evaluated(tiny_inits["dual_simclr"], tiny_store)
