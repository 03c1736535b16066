from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from specs import make_arm

from eocontrast.config.arms import Arm
from eocontrast.config.finetuning import Recipes
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.prediction import load_model
from eocontrast.finetuning import run as points
from eocontrast.finetuning.budgets import label_budget
from eocontrast.finetuning.points import Job, points_digest
from eocontrast.finetuning.run import Trained, train_point, train_points
from eocontrast.models.features import Features, embed
from eocontrast.models.fusion import Fusion
from eocontrast.models.model import PooledModel
from eocontrast.models.point_files import INDEX, point_file, read_index, write_index
from eocontrast.models.weight_files import load_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator

POINTS = [(0.2, 0), (0.2, 1), (1.0, 0)]
LATE = make_arm(init="random", lr=3e-3)

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Of BatchNorm."""


def changed(base: Arm, **fields: object) -> Arm:
    return Arm.model_validate({**base.model_dump(), **fields})


TUNED = changed(LATE, init="dual_simclr", modality_dropout=0.3)
FROZEN = changed(TUNED, frozen=True, lr=1e-2)
SEGMENTER = changed(LATE, task="segmentation", head="swin_unet", init="swin_dual_simclr")
ARMS = {
    "late": LATE,
    "tuned": TUNED,
    "frozen": FROZEN,
    "knn": changed(FROZEN, head="knn", modality_dropout=0.0),
    "unet": changed(LATE, task="segmentation", head="unet", fusion="early"),
    "swin_unet": SEGMENTER,
    "swin_unet_frozen": changed(SEGMENTER, frozen=True),
    "unet_dual": changed(TUNED, task="segmentation", head="unet", fusion="scales"),
    "unet_dual_frozen": changed(FROZEN, task="segmentation", head="unet"),
}


@pytest.fixture(scope="module")
def inits(tiny_inits: Mapping[str, Path], swin_inits: Mapping[str, Path]) -> dict[str, Path]:
    """Weight files of both backbones."""
    return {**tiny_inits, **{f"swin_{name}": file for name, file in swin_inits.items()}}


@pytest.fixture(scope="module")
def jobs(
    mixed_folder: Path,
    inits: Mapping[str, Path],
    tiny_recipes: Recipes,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[Job]]:
    """The points of every arm."""
    out = tmp_path_factory.mktemp("grid")
    return {
        name: [
            Job(name, mixed_folder, inits[arm.init], arm, tiny_recipes, *point, "no", out / name)
            for point in POINTS
        ]
        for name, arm in ARMS.items()
    }


@pytest.fixture(scope="module")
def grids(jobs: dict[str, list[Job]]) -> dict[str, list[Trained]]:
    """Every point of every arm, trained."""
    return {name: list(train_points(arm)) for name, arm in jobs.items()}


def other(job: Job, **fields: Any) -> Job:  # noqa: ANN401 - any field of Job
    return Job(**{**vars(job), **fields})


@pytest.mark.parametrize("name", ["late", "tuned", "frozen", "knn", "swin_unet"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_point_alone_is_the_point_within_the_grid(
    jobs: dict[str, list[Job]],
    grids: dict[str, list[Trained]],
    tmp_path: Path,
    name: str,
    number: int,
) -> None:
    (alone,) = train_points([other(jobs[name][number], out=tmp_path)])
    within = grids[name][number]
    assert alone.file.name == within.file.name == "{}-{}.safetensors".format(*POINTS[number])
    assert alone.file.read_bytes() == within.file.read_bytes()
    assert alone.history == within.history


@pytest.mark.parametrize(("head_epochs", "expected"), [(9, 9), (1, 4)])
def test_epochs_of_frozen_heads(
    jobs: dict[str, list[Job]], tmp_path: Path, head_epochs: int, expected: int
) -> None:
    """All labels, so that a least number of steps asks for no further epochs."""
    for name, epochs in (("frozen", expected), ("late", 4)):
        recipe = jobs[name][2].recipes.classification
        longer = recipe.model_copy(update={"head_epochs": head_epochs})
        recipes = jobs[name][2].recipes.model_copy(update={"classification": longer})
        (trained,) = train_points([other(jobs[name][2], recipes=recipes, out=tmp_path / name)])
        assert len(trained.history) == trained.spec.recipe["epochs"] == epochs


@pytest.mark.parametrize("name", ["late", "frozen", "knn"])
def test_the_order_of_the_points_does_not_matter(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], tmp_path: Path, name: str
) -> None:
    backwards = list(train_points([other(job, out=tmp_path) for job in reversed(jobs[name])]))
    for one, two in zip(grids[name], reversed(backwards), strict=True):
        assert one.file.read_bytes() == two.file.read_bytes()


@pytest.mark.parametrize("name", ARMS)
def test_points_of_other_seeds_and_fractions_differ(
    grids: dict[str, list[Trained]], name: str
) -> None:
    assert len({trained.file.read_bytes() for trained in grids[name]}) == len(POINTS)


@pytest.mark.parametrize("name", ["late", "frozen", "knn"])
def test_finished_points_skipped(
    jobs: dict[str, list[Job]],
    grids: dict[str, list[Trained]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    arm = [other(job, out=tmp_path) for job in jobs[name]]
    list(train_points(arm[:2]))
    trained: list[Job] = []

    def watched(job: Job, *rest: Any) -> Trained:  # noqa: ANN401 - handed through
        trained.append(job)
        return train_point(job, *rest)

    monkeypatch.setattr(points, "train_point", watched)
    found = {each.file.name: each for each in train_points(arm)}
    assert trained == arm[2:]
    assert [found[job.file.name].again for job in arm] == [True, True, False]
    for job, whole in zip(arm, grids[name], strict=True):
        assert job.file.read_bytes() == whole.file.read_bytes()
        assert found[job.file.name].history == whole.history


def test_damaged_point_trained_again(jobs: dict[str, list[Job]], tmp_path: Path) -> None:
    job = other(jobs["knn"][0], out=tmp_path)
    list(train_points([job]))
    content = job.file.read_bytes()
    for damaged in (content[:-1], b"", content[:-1] + bytes([content[-1] ^ 1])):
        job.file.write_bytes(damaged)
        (again,) = train_points([job])
        assert not again.again
        assert job.file.read_bytes() == content


def test_frozen_backbones_embed_once(
    jobs: dict[str, list[Job]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arms with the same weights and sensors share their features."""
    calls: list[object] = []

    def counted(*arguments: Any) -> Features:  # noqa: ANN401 - handed through
        calls.append(arguments)
        return embed(*arguments)

    monkeypatch.setattr(points, "embed", counted)
    monkeypatch.setattr(points, "workers_for_models", lambda: 1)  # workers count on their own
    both = [other(job, out=tmp_path / n) for n in ("frozen", "knn") for job in jobs[n]]
    list(train_points(both))
    assert len(calls) == 1
    one = other(jobs["frozen"][0], arm=changed(FROZEN, fusion="s2", modality_dropout=0.0))
    list(train_points([other(one, out=tmp_path / "s2"), other(both[0], out=tmp_path / "late")]))
    assert len(calls) == 3


def test_frozen_heads_of_two_pretrainings(
    jobs: dict[str, list[Job]], mixed_folder: Path, inits: dict[str, Path], tmp_path: Path
) -> None:
    """Each head is trained and scored on the features of its own pretraining."""
    store, device = PatchStore(mixed_folder), accelerator("no")
    weights = Pretrained.load(inits["dual_simclr"])
    shrunk = {name: tensor.mul(0.5).to(tensor.dtype) for name, tensor in weights.tensors.items()}
    second = tmp_path / "second.safetensors"
    replace(weights, tensors=shrunk).save(second)
    first = other(jobs["frozen"][0], out=tmp_path / "a")
    moved = other(jobs["frozen"][1], out=tmp_path / "a", init=second, pretraining_seed=1)
    trained = {found.file.name: found for found in train_points([first, moved])}
    files = [trained[job.file.name].file for job in (first, moved)]
    assert [trained[file.name].spec.pretraining_seed for file in files] == [0, 1]
    together = list(evaluate([[file] for file in files], store, device))
    for file, scored in zip(files, together, strict=True):
        (alone,) = evaluate([[file]], store, device)
        assert alone[0][0].predictions.equals(scored[0][0].predictions)


def test_points_are_named_by_all_that_determines_them(
    jobs: dict[str, list[Job]], tmp_path: Path
) -> None:
    cell = jobs["tuned"]
    again = tmp_path / "again.safetensors"
    again.write_bytes(cell[0].init.read_bytes())
    moved = [other(job, init=again, out=tmp_path) for job in cell]
    assert points_digest(moved) == points_digest(cell)
    again.write_bytes(jobs["late"][0].init.read_bytes())
    arm = changed(TUNED, lr=1e-4)
    others = [moved, cell[:2], [other(job, arm=arm) for job in cell]]
    assert len({points_digest(each) for each in (cell, *others)}) == 4


def in_model(name: str) -> str:
    """A model's name of a tensor of a pretrained file."""
    sensor, name = name.split(".", 1)
    return f"backbones.{sensor}.timm.{name}"


@pytest.mark.parametrize("name", ["frozen", "knn", "swin_unet_frozen", "unet_dual_frozen"])
def test_a_frozen_point_keeps_its_backbones_to_the_bit(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], name: str
) -> None:
    init = Pretrained.load(jobs[name][0].init).tensors
    assert (name == "swin_unet_frozen") != any(n.endswith("running_mean") for n in init)
    heads = []
    for trained in grids[name]:
        tensors, _ = load_weights(trained.file)
        ours = {name: tensors.pop(in_model(name)) for name in init}
        assert all(torch.equal(ours[name], init[name]) for name in init)
        assert not any(left.startswith("backbones.") for left in tensors)
        heads.append(tensors)
    own = {"knn": "bank", "unet_dual_frozen": "decoders.s1.head.weight"}
    assert own.get(name, "head.weight") in heads[0]
    seeds = (heads[0][n] for n in heads[0])
    assert any(not torch.equal(one, two) for one, two in zip(seeds, heads[1].values(), strict=True))


@pytest.mark.parametrize("name", ["tuned", "swin_unet", "unet_dual"])
def test_a_point_that_is_not_frozen_moves_its_backbones_and_keeps_their_statistics(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], name: str
) -> None:
    init = Pretrained.load(jobs[name][0].init).tensors
    tensors, _ = load_weights(grids[name][0].file)
    same = [n for n, t in init.items() if torch.equal(tensors[in_model(n)], t)]
    assert same == [n for n in init if n.endswith(STATISTICS)]


def test_a_point_from_scratch_finds_statistics_of_its_own(grids: dict[str, list[Trained]]) -> None:
    tensors, _ = load_weights(grids["late"][0].file)
    means = [t for n, t in tensors.items() if n.endswith("running_mean")]
    assert means
    assert all(mean.any() for mean in means)  # they begin at zero


@torch.no_grad()
@pytest.mark.parametrize("name", ARMS)
def test_a_file_is_a_model_again(
    grids: dict[str, list[Trained]], mixed_store: PatchStore, name: str
) -> None:
    """And the same one: two readings of it say the same, to the bit."""
    rows = mixed_store.labelled("test")
    found = []
    for _ in range(2):
        model, spec = load_model(grids[name][2].file, mixed_store)
        found.append(model.eval()(mixed_store.batch(rows, model.inputs)))
    assert torch.equal(*found)
    segments = ARMS[name].task == "segmentation"
    assert found[0].shape == ((18, 3, 16, 16) if segments else (18, 3))
    assert spec.head == ARMS[name].head
    assert not torch.equal(found[0][0], found[0][1])


@torch.no_grad()
def test_a_folded_head_is_the_head_that_was_trained(
    grids: dict[str, list[Trained]], mixed_store: PatchStore
) -> None:
    """Its loss on validation patches, read as pixels, is that of the epoch that was kept."""
    trained = grids["frozen"][2]
    model, spec = load_model(trained.file, mixed_store)
    assert spec.n_validation > 0
    budget = label_budget(mixed_store, 1.0, 0, 0.2)
    logits = model.eval()(mixed_store.batch(budget.validation))
    targets = torch.from_numpy(mixed_store.labels[budget.validation])
    loss = float(torch.nn.functional.cross_entropy(logits, targets))
    assert loss == pytest.approx(min(m["val_loss"] for m in trained.history), rel=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("labels", ["single_label", "multi_label"])
def test_neighbours_on_file_are_the_patches_trained_on_and_their_classes(
    jobs: dict[str, list[Job]], mixed_store: PatchStore, tmp_path: Path, labels: str
) -> None:
    job = jobs["knn"][2]
    classification = job.recipes.classification.model_copy(update={"labels": labels})
    recipes = job.recipes.model_copy(update={"classification": classification})
    (trained,) = train_points([other(job, recipes=recipes, out=tmp_path)])
    assert trained.history == []
    tensors, header = load_weights(trained.file)
    budget = label_budget(mixed_store, 1.0, 0, 0.2)
    assert header["task"] == labels
    assert len(tensors["votes"]) == len(budget.train) < header["n_labels"]
    masks = mixed_store.masks(budget.train)[:, 0]
    shares = torch.stack([(masks == k).float().mean((1, 2)) for k in range(3)], dim=1)
    expected = shares >= 0.1 if labels == "multi_label" else shares == shares.amax(1, keepdim=True)
    assert torch.equal(tensors["votes"], expected.float())
    model, _ = load_model(trained.file, mixed_store)
    assert isinstance(model, PooledModel)
    features = embed(model, mixed_store, budget.train, accelerator("no")).of(budget.train)
    parts = [torch.nn.functional.normalize(features[s]) for s in ("s1", "s2")]
    joined = torch.nn.functional.normalize(torch.cat(parts, dim=1))
    torch.testing.assert_close(tensors["bank"], joined, rtol=1e-4, atol=1e-5)


def test_a_header_says_what_the_point_is(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], mixed_store: PatchStore
) -> None:
    trained, job = grids["tuned"][1], jobs["tuned"][1]
    _, header = load_weights(trained.file)
    assert json.loads(json.dumps(trained.spec.to_dict())) == header
    assert (header["fraction"], header["seed"], header["init"]) == (0.2, 1, "dual_simclr")
    assert (header["task"], header["head"], header["fusion"]) == ("single_label", "linear", "late")
    assert (header["n_labels"], header["classes"]) == (8, ["Forest", "Urban", "Water"])
    assert header["n_pixels"] == 8 * 255  # one pixel of every mask has no class
    assert header["n_validation"] < header["n_labels"]
    pretrained = Pretrained.load(job.init)
    assert header["method"] == "dual_simclr"
    assert header["pretrained_digest"] == pretrained.digest
    assert header["data_digest"] == mixed_store.digest
    assert header["recipe"] == job.recipes.classification.model_dump()
    assert header["modality_dropout"] == 0.3
    assert str(trained.file.parent) not in json.dumps(header)


def test_a_segmenter_has_the_recipe_of_its_task(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]]
) -> None:
    spec = grids["swin_unet"][0].spec
    assert spec.task == "segmentation"
    assert spec.recipe == jobs["swin_unet"][0].recipes.segmentation.model_dump()


@pytest.mark.parametrize("name", ["late", "frozen", "knn", "unet", "swin_unet_frozen"])
def test_header_patch_size(jobs: dict[str, list[Job]], tmp_path: Path, name: str) -> None:
    """Maps cut scenes into patches of the size that the model was fine-tuned on.

    Heads on frozen backbones see whole patches of 16 px, the others crops of 12 px.
    """
    recipes = jobs[name][0].recipes.model_dump()
    crops = {task: {**recipe, "crop": 12} for task, recipe in recipes.items()}
    job = other(jobs[name][0], recipes=Recipes.model_validate(crops), out=tmp_path)
    (trained,) = train_points([job])
    sides = {spec.patch_size for spec in trained.spec.inputs.values()}
    assert sides == {16 if name in ("frozen", "knn") else 12}


def test_modality_dropout_changes_what_is_learnt(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], tmp_path: Path
) -> None:
    for name in ("tuned", "frozen"):
        without = changed(ARMS[name], modality_dropout=0.0)
        (trained,) = train_points([other(jobs[name][2], arm=without, out=tmp_path / name)])
        one, two = (load_weights(file)[0] for file in (trained.file, grids[name][2].file))
        assert not torch.equal(one["head.weight"], two["head.weight"])


@pytest.mark.parametrize(
    ("head", "fusion"),
    [
        *(("linear", fusion) for fusion in ("s1", "s2", "early")),
        *(("unet", fusion) for fusion in ("s1", "s2")),
        *(("swin_unet", fusion) for fusion in ("s1", "s2", "scales")),
    ],
)
def test_every_fusion_trains(
    jobs: dict[str, list[Job]],
    inits: Mapping[str, Path],
    tmp_path: Path,
    head: str,
    fusion: Fusion,
) -> None:
    task = "classification" if head == "linear" else "segmentation"
    init = "swin_random" if head == "swin_unet" else "random"
    arm = changed(LATE, task=task, head=head, init=init, fusion=fusion)
    trained = train_point(other(jobs["late"][0], arm=arm, init=inits[init], out=tmp_path))
    assert trained.spec.fusion == fusion
    assert [m["epoch"] for m in trained.history] == list(range(1, len(trained.history) + 1))
    assert all(m["loss"] > 0 for m in trained.history)


def test_a_user_error_in_a_worker_reaches_the_stage(
    jobs: dict[str, list[Job]], tmp_path: Path
) -> None:
    good = other(jobs["late"][0], out=tmp_path)
    with pytest.raises(UserError, match="3 classes"):
        list(train_points([good, other(good, fraction=0.01)]))


def test_an_arm_whose_fractions_were_all_left_out_trains_nothing() -> None:
    assert list(train_points([])) == []


# --- the index


def test_a_point_lies_where_its_coordinates_say(jobs: dict[str, list[Job]], tmp_path: Path) -> None:
    job = other(jobs["late"][1], out=tmp_path)
    assert job.file == point_file(tmp_path, 0.2, 1) == tmp_path / "0.2-1.safetensors"


def test_points_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "arm").mkdir()
    for name in ("1.0-0", "0.1-0", "0.5-0"):  # the last is of an earlier grid
        (tmp_path / f"arm/{name}.safetensors").write_bytes(name.encode())
    write_index(tmp_path / "arm", ["1.0-0.safetensors", "0.1-0.safetensors"], {"0.01": "few"})
    files, left_out = read_index(tmp_path / "arm")
    assert [file.name for file in files] == ["1.0-0.safetensors", "0.1-0.safetensors"]
    assert all(file.parent == tmp_path / "arm" for file in files)
    assert left_out == {"0.01": "few"}


def test_an_arm_without_points_has_an_index(tmp_path: Path) -> None:
    write_index(tmp_path / "arm", [], {"0.01": "few"})
    assert read_index(tmp_path / "arm") == ([], {"0.01": "few"})


@pytest.mark.parametrize("content", [None, "", '{"points": ['])
def test_a_folder_without_an_index_says_what_to_run(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / INDEX).write_text(content)
    with pytest.raises(UserError, match=r"points\.json.*run the stage"):
        read_index(tmp_path)
