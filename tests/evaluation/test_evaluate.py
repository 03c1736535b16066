import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
)
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from eocontrast.evaluation.evaluate import Evaluation, evaluate
from eocontrast.evaluation.prediction import (
    Predictions,
    ensemble,
    load_model,
    predict,
    predictions,
)
from eocontrast.modalities import SENSORS
from eocontrast.models.model import Inputs, LateModel, Streams, sensor_sets
from eocontrast.models.tasks import TASKS, TaskName
from eocontrast.patches import store as patches
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import Kind, PatchStore, Rows
from eocontrast.patches.windows import Window
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator

SETS = ["s1+s2", "s1", "s2"]
LATE: tuple[dict[str, str], ...] = (
    {"head": "linear", "fusion": "late"},
    {"head": "knn", "fusion": "late"},
    {"head": "swin_unet", "fusion": "late", "task": "segmentation"},
    {"head": "swin_unet", "fusion": "scales", "task": "segmentation"},
    {"head": "unet", "fusion": "late", "task": "segmentation"},
    {"head": "unet", "fusion": "scales", "task": "segmentation"},
)
"""Models with a backbone a sensor."""

EARLY: tuple[dict[str, str], ...] = (
    {"head": "linear", "fusion": "early"},
    {"head": "unet", "fusion": "early", "task": "segmentation"},
)
LINEAR, SWIN_UNET, UNET = LATE[0], LATE[2], EARLY[1]


def named(fields: dict[str, str]) -> str:
    return f"{fields['head']}-{fields['fusion']}"


WriteModel = Callable[..., Path]


def together(files: list[Path], store: PatchStore) -> list[list[Evaluation]]:
    (found,) = evaluate([files], store, accelerator("no"))
    return found


def evaluated(file: Path, store: PatchStore) -> list[Evaluation]:
    (alone,) = together([file], store)
    return alone


def probabilities(file: Path, store: PatchStore, task: TaskName = "single_label") -> Predictions:
    model, _ = load_model(file, store)
    return predict(model, TASKS[task], store, store.labelled("test"), accelerator("no"))


def copied(store: PatchStore, folder: Path) -> PatchStore:
    """A store of this test's own."""
    return PatchStore(shutil.copytree(store.folder, folder))


def as_classes(found: Evaluation, column: str) -> NDArray[np.int64]:
    order = {name: number for number, name in enumerate(found.spec.classes)}
    return np.array([order[name] for name in found.predictions[column]], dtype=np.int64)


# --- one class a patch


def test_every_test_patch_is_predicted_once(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    rows = tiny_store.labelled("test")
    for found in evaluated(write_model(tiny_store), tiny_store):
        assert list(found.predictions["id"]) == list(tiny_store.index["id"].to_numpy()[rows])
        assert list(found.predictions["group"]) == list(tiny_store.groups[rows])
        assert as_classes(found, "actual").tolist() == tiny_store.labels[rows].tolist()
        assert found.predictions["count"].tolist() == [1] * 18


def test_scores_are_those_of_the_probabilities(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    file, labels = write_model(tiny_store), tiny_store.labels[tiny_store.labelled("test")]
    found = evaluated(file, tiny_store)
    assert [evaluation.inputs for evaluation in found] == SETS
    assert found[0].predictions["predicted"].nunique() > 1
    for evaluation, given in zip(found, probabilities(file, tiny_store).values(), strict=True):
        said = given.argmax(1).numpy()
        assert as_classes(evaluation, "predicted").tolist() == said.tolist()
        error = multiclass_calibration_error(given, torch.from_numpy(labels), 3, n_bins=15)
        assert evaluation.scores == pytest.approx(
            {
                "AA": balanced_accuracy_score(labels, said),
                "OA": accuracy_score(labels, said),
                "macro_F1": f1_score(labels, said, average="macro"),
                "micro_F1": f1_score(labels, said, average="micro"),
                "mIoU": jaccard_score(labels, said, average="macro"),
                "ECE": float(error),
            },
            abs=1e-6,
        )
        assert list(evaluation.by_class) == ["Forest", "Urban", "Water"]
        urban = evaluation.by_class["Urban"]
        assert urban["recall"] == pytest.approx((said[labels == 1] == 1).mean())
        assert urban["F1"] == pytest.approx(f1_score(labels, said, average=None)[1])
        assert urban["IoU"] == pytest.approx(jaccard_score(labels, said, average=None)[1])


def test_the_confusion_is_in_the_order_of_the_classes(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    tiny_store.classes = ("Urban", "Forest", "Water")  # not that of the alphabet
    found = evaluated(write_model(tiny_store, classes=("Urban", "Forest", "Water")), tiny_store)[0]
    expected = confusion_matrix(as_classes(found, "actual"), as_classes(found, "predicted"))
    pairs = [
        [tiny_store.classes[i], tiny_store.classes[j], int(expected[i, j])]
        for i, j in np.argwhere(expected).tolist()
    ]
    assert len(pairs) > 3
    assert found.confusion.values.tolist() == pairs


def test_neighbours_that_are_remembered_are_right_of_themselves(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    train = tiny_store.index["split"] == "train"
    recipe = {"neighbours": 1, "neighbour_temperature": 0.1}
    file = write_model(tiny_store, head="knn", recipe=recipe, frozen=True)
    tiny_store.index["split"] = np.where(train, "test", "train")
    assert evaluated(file, tiny_store)[0].scores["OA"] == 1


# --- several classes a patch


def test_several_classes_are_scored_as_sklearn_does(
    mixed_store: PatchStore, write_model: WriteModel
) -> None:
    file, names = write_model(mixed_store, task="multi_label"), np.array(mixed_store.classes)
    assert mixed_store.shares is not None
    actual = mixed_store.shares[mixed_store.labelled("test")] >= 0.1
    found = evaluated(file, mixed_store)
    given = probabilities(file, mixed_store, "multi_label")
    for evaluation, answers in zip(found, given.values(), strict=True):
        said = (answers > 0.5).numpy()
        for column, members in (("actual", actual), ("predicted", said)):
            written = ["|".join(names[row]) or "none" for row in members]
            assert evaluation.predictions[column].tolist() == written
        error = binary_calibration_error(
            answers.maximum(1 - answers).flatten(),
            torch.from_numpy(said == actual).flatten().long(),
            n_bins=15,
        )
        expected = {
            "AA": np.mean([said[actual[:, k], k].mean() for k in range(3)]),
            "OA": (said == actual).mean(),
            "macro_F1": f1_score(actual, said, average="macro"),
            "micro_F1": f1_score(actual, said, average="micro"),
            "mIoU": jaccard_score(actual, said, average="macro"),
            "ECE": float(error),
        }
        assert evaluation.scores == pytest.approx(expected, abs=1e-6)
    assert found[0].task.metric == "macro_F1"


def test_classes_are_joined_and_none_is_said_as_none(
    mixed_store: PatchStore, write_model: WriteModel
) -> None:
    file = write_model(mixed_store, task="multi_label")
    rows = mixed_store.labelled("test")
    columns = ["share_0", "share_1", "share_2"]
    mixed_store.index.loc[rows[0], columns] = [0.05, 0.02, 0.05]
    mixed_store.index.loc[rows[1], columns] = [0.5, 0.1, 0.4]
    found = evaluated(file, mixed_store)[0]
    assert found.predictions["actual"].tolist()[:2] == ["none", "Forest|Urban|Water"]
    said = set(found.predictions["predicted"])
    assert "none" in said
    assert any("|" in name for name in said)
    assert found.confusion["count"].sum() == 18


# --- a class a pixel


def test_pixels_are_counted_one_by_one_and_ignored_ones_are_not(
    mixed_store: PatchStore, write_model: WriteModel, tmp_path: Path
) -> None:
    store = copied(mixed_store, tmp_path / "store")
    (masks_file,) = sorted((store.folder / "label").glob("*.npy"))
    masks = np.load(masks_file)
    masks[np.random.default_rng(0).random(masks.shape) < 0.3] = 255
    np.save(masks_file, masks)
    store = PatchStore(store.folder)
    file = write_model(store, head="unet", fusion="early", task="segmentation")
    rows, names = store.labelled("test"), store.classes
    found = evaluated(file, store)
    given = probabilities(file, store, "segmentation")
    for evaluation, answers in zip(found, given.values(), strict=True):
        said = answers.argmax(1).numpy()
        expected: dict[tuple[str, ...], int] = {}
        for patch, row in enumerate(rows):
            where = (store.index["id"][row], store.groups[row])
            for true, predicted in zip(masks[row].ravel(), said[patch].ravel(), strict=True):
                if true != 255:
                    key = (*where, names[true], names[predicted])
                    expected[key] = expected.get(key, 0) + 1
        table = evaluation.predictions
        keys = table[["id", "group", "actual", "predicted"]].itertuples(index=False, name=None)
        assert dict(zip(keys, table["count"], strict=True)) == expected
        assert len(table) == len(expected)
        asked = masks[rows] != 255
        true, predicted = masks[rows][asked], said[asked]
        scored = evaluation.scores
        assert scored["mIoU"] == pytest.approx(jaccard_score(true, predicted, average="macro"))
        assert scored["OA"] == pytest.approx(accuracy_score(true, predicted))
        confidence = answers.transpose(0, 1)[:, torch.from_numpy(asked)].T
        error = multiclass_calibration_error(
            confidence, torch.from_numpy(true).long(), 3, n_bins=15
        )
        assert scored["ECE"] == pytest.approx(float(error), abs=1e-6)
    assert found[0].confusion["count"].sum() == (masks[rows] != 255).sum()


def test_without_masks_there_is_no_segmentation(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    file = write_model(tiny_store, head="unet", fusion="early", task="segmentation")
    with pytest.raises(UserError, match="has no masks"):
        evaluated(file, tiny_store)


# --- a sensor that is missing


@pytest.mark.parametrize("fields", LATE, ids=named)
def test_a_missing_sensor_is_a_batch_without_data_in_it(
    mixed_store: PatchStore, write_model: WriteModel, fields: dict[str, str]
) -> None:
    file = write_model(mixed_store, **fields)
    model, spec = load_model(file, mixed_store)
    task, rows = spec.learning, mixed_store.labelled("test")
    found = predict(model, task, mixed_store, rows, accelerator("no"))
    assert list(found) == [("s1", "s2"), ("s1",), ("s2",)]
    for sensors, answers in found.items():
        batch = mixed_store.batch(rows)
        for sensor in set(SENSORS) - set(sensors):
            nodata = {"s1": -32768, "s2": 65535}[sensor]
            batch[sensor] = torch.full_like(batch[sensor], nodata)
        with torch.no_grad():
            expected = task.probabilities(model.eval()(batch))
        assert answers.shape == expected.shape
        assert torch.allclose(answers, expected, atol=1e-5)
    assert not torch.allclose(found["s1",], found["s2",], atol=0.01)


@pytest.mark.parametrize("fields", [f for f in LATE if f["fusion"] == "late"], ids=named)
def test_where_sensors_meet_last_each_is_seen_once(
    mixed_store: PatchStore,
    write_model: WriteModel,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
) -> None:
    model, spec = load_model(write_model(mixed_store, **fields), mixed_store)
    assert isinstance(model, LateModel)
    seen: list[int] = []
    streams = type(model).streams

    def watched(model: LateModel, batch: Batch) -> Streams:
        seen.append(len(batch["s1"]))
        return streams(model, batch)

    monkeypatch.setattr(type(model), "streams", watched)
    rows, device = mixed_store.labelled("test"), accelerator("no")
    list(predictions(model, spec.learning, mixed_store, [rows[:10], rows[10:]], device))
    assert sorted(seen) == [1, 8, 10]  # one patch without any data, and all patches


@pytest.mark.parametrize("fusion", ["s1", "s2"])
def test_a_model_of_one_sensor_is_scored_once(
    tiny_store: PatchStore, write_model: WriteModel, fusion: str
) -> None:
    (found,) = evaluated(write_model(tiny_store, fusion=fusion), tiny_store)
    assert found.inputs == fusion


@pytest.mark.parametrize("fields", EARLY, ids=named)
def test_a_model_that_stacks_both_sensors_is_scored_with_both(
    mixed_store: PatchStore, write_model: WriteModel, fields: dict[str, str]
) -> None:
    """Its one backbone has never seen a sensor alone."""
    file = write_model(mixed_store, **fields)
    (found,) = evaluated(file, mixed_store)
    assert found.inputs == "s1+s2"
    model, spec = load_model(file, mixed_store)
    task, rows = spec.learning, mixed_store.labelled("test")
    with torch.no_grad():
        expected = task.probabilities(model.eval()(mixed_store.batch(rows)))
    given = predict(model, task, mixed_store, rows, accelerator("no"))
    assert torch.allclose(given["s1", "s2"], expected, atol=1e-5)


def test_heads_in_one_folder_keep_their_own_features(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    files = [
        write_model(tiny_store, fusion, fusion=fusion, frozen=True)
        for fusion in ("late", "s1", "s2", "late")
    ]
    together = list(evaluate([[file] for file in files], tiny_store, accelerator("no")))
    for file, (found,) in zip(files, together, strict=True):
        alone = evaluated(file, tiny_store)
        assert [one.inputs for one in found] == [one.inputs for one in alone]
        assert [one.scores for one in found] == [one.scores for one in alone]


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_features_of_frozen_backbones_are_kept_and_say_the_same(
    tiny_store: PatchStore,
    write_model: WriteModel,
    monkeypatch: pytest.MonkeyPatch,
    head: str,
) -> None:
    files = [write_model(tiny_store, f"frozen{k}", head=head, frozen=True) for k in range(3)]
    whole = evaluated(write_model(tiny_store, head=head), tiny_store)
    asked: list[int] = []
    batch = PatchStore.batch

    def watched(store: PatchStore, rows: Rows, inputs: Inputs) -> Batch:
        asked.append(len(rows))
        return batch(store, rows, inputs)

    monkeypatch.setattr(PatchStore, "batch", watched)
    for (found,) in evaluate([[file] for file in files], tiny_store, accelerator("no")):
        for one, other in zip(found, whole, strict=True):
            assert one.predictions.equals(other.predictions)
            assert one.scores == pytest.approx(other.scores, abs=1e-5)
    assert sorted(asked) == [1, 18]


# --- ensembles


@pytest.mark.parametrize("fields", [LINEAR, SWIN_UNET], ids=named)
def test_a_model_with_itself_is_the_model(
    mixed_store: PatchStore, write_model: WriteModel, fields: dict[str, str]
) -> None:
    file = write_model(mixed_store, **fields)
    one, other, (both,) = together([file, file], mixed_store)
    assert len(one) == len(other) == len(sensor_sets(load_model(file, mixed_store)[0].inputs))
    assert (both.inputs, both.task) == (one[0].inputs, one[0].task)
    assert both.predictions.equals(one[0].predictions)
    assert both.scores == one[0].scores


def test_an_ensemble_is_the_mean_of_the_probabilities(
    mixed_store: PatchStore, write_model: WriteModel
) -> None:
    """Of models that join their sensors at different places."""
    files = [write_model(mixed_store, named(f), **f) for f in (UNET, SWIN_UNET)]
    alone = [probabilities(file, mixed_store, "segmentation") for file in files]
    one, two = (said["s1", "s2"] for said in alone)
    *_, (found,) = together(files, mixed_store)
    assert found.inputs == "s1+s2"
    true = mixed_store.masks(mixed_store.labelled("test"))[:, 0]
    said = ((one + two) / 2).argmax(1)
    assert (said != one.argmax(1)).any()
    assert (said != two.argmax(1)).any()
    assert found.scores["OA"] == pytest.approx(float((said == true)[true != 255].float().mean()))
    both = ensemble(alone)
    assert list(both) == [("s1", "s2")]
    assert torch.allclose(both["s1", "s2"], (one + two) / 2)


def test_members_of_an_ensemble_are_scored_as_they_are_alone(
    mixed_store: PatchStore, write_model: WriteModel
) -> None:
    files = [write_model(mixed_store, named(f), **f) for f in (UNET, SWIN_UNET)]
    *members, _ = together(files, mixed_store)
    for file, found in zip(files, members, strict=True):
        alone = evaluated(file, mixed_store)
        assert [one.inputs for one in found] == [one.inputs for one in alone]
        for one, other in zip(found, alone, strict=True):
            assert one.spec == other.spec
            assert one.predictions.equals(other.predictions)
            assert one.scores == other.scores


@pytest.mark.parametrize("flip", [False, True])
def test_an_ensemble_is_described_by_all_its_members(
    tiny_store: PatchStore, write_model: WriteModel, flip: bool
) -> None:
    """It uses no labels alone where one of them was pretrained."""
    origin = {"method": "dual_simclr", "pretrained_digest": "abc"}
    files = [
        write_model(tiny_store, "scratch"),
        write_model(tiny_store, "dual", init="dual", seed=1, **origin),
    ]
    *_, (found,) = together(files[::-1] if flip else files, tiny_store)
    inits = ["random_resnet", "dual"]
    assert found.spec.init == " + ".join(inits[::-1] if flip else inits)
    assert (found.spec.method, found.spec.pretrained_digest) == ("dual_simclr", "abc")
    assert found.spec.head == "ensemble"
    *_, (twins,) = together(files[:1] * 2, tiny_store)
    assert twins.spec.init == "random_resnet"
    assert twins.spec.method == "random"


# --- what is read


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("fields", [LINEAR, UNET], ids=named)
def test_only_the_test_split_is_read(
    mixed_store: PatchStore,
    write_model: WriteModel,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
    frozen: bool,
) -> None:
    file = write_model(mixed_store, frozen=frozen, **fields)
    asked: set[int] = set()
    read = PatchStore.read

    def watched(
        store: PatchStore, kind: Kind, rows: Rows, window: Window | None = None
    ) -> NDArray[np.integer]:
        asked.update(rows.tolist())
        return read(store, kind, rows, window)

    monkeypatch.setattr(PatchStore, "read", watched)
    evaluated(file, mixed_store)
    together([file, file], mixed_store)
    assert asked == set(mixed_store.labelled("test").tolist())


def test_labels_of_other_splits_change_nothing(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    file = write_model(tiny_store)
    before = evaluated(file, tiny_store)
    other = PatchStore(tiny_store.folder)
    other.index.loc[other.index["split"] != "test", "label"] = 2
    for one, two in zip(before, evaluated(file, other), strict=True):
        assert one.predictions.equals(two.predictions)
        assert one.scores == two.scores


@pytest.mark.parametrize("fields", [LINEAR, SWIN_UNET], ids=named)
def test_it_is_deterministic_and_does_not_depend_on_the_chunks(
    mixed_store: PatchStore,
    write_model: WriteModel,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str],
) -> None:
    file = write_model(mixed_store, **fields)
    first, again = evaluated(file, mixed_store), evaluated(file, mixed_store)
    monkeypatch.setattr(patches, "PIXELS", 7 * 16 * 16)
    assert [len(c) for c in mixed_store.chunks(mixed_store.labelled("test"))] == [7, 7, 4]
    chunked = evaluated(file, mixed_store)
    for one, two, three in zip(first, again, chunked, strict=True):
        assert one.predictions.equals(two.predictions)
        assert one.scores == two.scores
        assert three.scores == pytest.approx(one.scores, abs=1e-4)
        assert list(three.predictions.index) == list(range(len(three.predictions)))
        assert three.predictions["count"].sum() == one.predictions["count"].sum()


def test_statistics_are_those_the_model_was_trained_with(
    tiny_store: PatchStore, write_model: WriteModel, tmp_path: Path
) -> None:
    """Another store has other statistics; the model keeps those in its header."""
    file = write_model(tiny_store)
    before = evaluated(file, tiny_store)[0]
    stats_file = copied(tiny_store, tmp_path / "store").folder / "stats.json"
    stats = json.loads(stats_file.read_text())
    stats["s2"]["mean"] = [2 * mean for mean in stats["s2"]["mean"]]
    stats_file.write_text(json.dumps(stats))
    shifted = PatchStore(tmp_path / "store")
    assert shifted.specs != tiny_store.specs
    assert evaluated(file, shifted)[0].predictions.equals(before.predictions)


def test_a_class_that_is_not_tested_has_no_scores(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    file, index = write_model(tiny_store), tiny_store.index
    index.loc[(index["split"] == "test") & (index["label"] == 1), "label"] = -1
    found = evaluated(file, tiny_store)[0]
    assert len(found.predictions) == 12
    assert all(math.isnan(value) for value in found.by_class["Urban"].values())
    others = [found.by_class[name]["recall"] for name in ("Forest", "Water")]
    assert found.scores["AA"] == pytest.approx(np.mean(others))


# --- what is refused


def test_a_model_of_another_store_is_refused(
    tiny_store: PatchStore, mixed_store: PatchStore, write_model: WriteModel
) -> None:
    """Of the same classes and sensors: nothing else tells that its test patches are others."""
    files = [write_model(mixed_store, "own"), write_model(tiny_store, "other")]
    evaluated(files[0], mixed_store)
    for refused in ([[files[1]]], [files], [[files[0]], [files[1]]]):
        with pytest.raises(UserError, match=r"other\.safetensors was .* `dvc repro finetune`"):
            list(evaluate(refused, mixed_store, accelerator("no")))


@pytest.mark.parametrize("classes", [("Forest", "Water"), ("Urban", "Forest", "Water")])
def test_a_store_of_other_classes_is_refused(
    tiny_store: PatchStore, write_model: WriteModel, classes: tuple[str, ...]
) -> None:
    """Equal names in another order too: indices would mean other classes."""
    file = write_model(tiny_store)
    tiny_store.classes = classes
    with pytest.raises(UserError, match=r"Urban.*fine-tune on this data first"):
        evaluated(file, tiny_store)
    with pytest.raises(UserError, match=r"Urban.*fine-tune on this data first"):
        together([file, file], tiny_store)


def test_a_store_without_test_labels_is_refused(
    tiny_store: PatchStore, write_model: WriteModel
) -> None:
    file = write_model(tiny_store)
    tiny_store.index.loc[tiny_store.index["split"] == "test", "label"] = -1
    with pytest.raises(UserError, match="no labelled patch in the split test"):
        evaluated(file, tiny_store)


def test_pretrained_backbones_are_no_classifier(
    swin_inits: dict[str, Path], tiny_store: PatchStore
) -> None:
    message = r"swin_dual_simclr\.safetensors holds no fine-tuned model"
    with pytest.raises(UserError, match=message):
        evaluated(swin_inits["dual_simclr"], tiny_store)
