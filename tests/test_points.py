import json
from pathlib import Path
from typing import Any

import pytest
import torch

from eocontrast.errors import UserError
from eocontrast.params import Arm, Fusion, Recipe
from eocontrast.patches import PatchStore
from eocontrast.points import (
    Job,
    Trained,
    read_index,
    too_small,
    train_point,
    train_points,
    write_index,
)
from eocontrast.weights import Pretrained, load_weights

POINTS = [(0.2, 0), (0.2, 1), (1.0, 0)]
LATE = Arm(init="random", fusion="late", frozen=False, lr=3e-3, backbone_lr_scale=1.0)
TUNED = Arm(init="dual_simclr", fusion="late", frozen=False, lr=3e-3, backbone_lr_scale=1.0)
FROZEN = Arm(init="dual_simclr", fusion="late", frozen=True, lr=1e-2, backbone_lr_scale=1.0)
ARMS = {"late": LATE, "tuned": TUNED, "frozen": FROZEN}


def jobs_of(arm: Arm, store: Path, inits: dict[str, Path], recipe: Recipe, out: Path) -> list[Job]:
    return [Job(store, inits[arm.init], arm, recipe, *point, "no", out) for point in POINTS]


@pytest.fixture(scope="module")
def jobs(
    tiny_folder: Path,
    tiny_inits: dict[str, Path],
    tiny_recipe: Recipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[Job]]:
    """The points of every arm."""
    out = tmp_path_factory.mktemp("grid")
    return {
        name: jobs_of(arm, tiny_folder, tiny_inits, tiny_recipe, out / name)
        for name, arm in ARMS.items()
    }


@pytest.fixture(scope="module")
def grids(jobs: dict[str, list[Job]]) -> dict[str, list[Trained]]:
    """Every point of every arm, trained."""
    return {name: list(train_points(arm)) for name, arm in jobs.items()}


def changed(job: Job, **fields: Any) -> Job:  # noqa: ANN401 - any field of Job
    return Job(**{**vars(job), **fields})


@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("number", [0, 2])
def test_a_point_alone_is_the_point_within_the_grid(
    jobs: dict[str, list[Job]],
    grids: dict[str, list[Trained]],
    tmp_path: Path,
    name: str,
    number: int,
) -> None:
    (alone,) = train_points([changed(jobs[name][number], out=tmp_path)])
    within = grids[name][number]
    assert alone.file.name == within.file.name == "{}-{}.safetensors".format(*POINTS[number])
    assert alone.file.read_bytes() == within.file.read_bytes()
    assert alone.history == within.history


@pytest.mark.parametrize("name", ["late", "frozen"])
def test_the_order_of_the_points_does_not_matter(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], tmp_path: Path, name: str
) -> None:
    backwards = list(train_points([changed(job, out=tmp_path) for job in reversed(jobs[name])]))
    for one, two in zip(grids[name], reversed(backwards), strict=True):
        assert one.file.read_bytes() == two.file.read_bytes()


def test_points_of_other_seeds_and_fractions_differ(grids: dict[str, list[Trained]]) -> None:
    assert len({trained.file.read_bytes() for trained in grids["late"]}) == len(POINTS)


def test_a_frozen_point_keeps_its_backbones_to_the_bit(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]]
) -> None:
    init = Pretrained.load(jobs["frozen"][0].init).tensors
    assert any(name.endswith("running_mean") for name in init)
    heads = []
    for trained in grids["frozen"]:
        tensors, _ = load_weights(trained.file)
        ours = {name: tensors.pop(in_classifier(name)) for name in init}
        assert all(torch.equal(ours[name], init[name]) for name in init)
        assert set(tensors) == {"head.weight", "head.bias"}
        heads.append(tensors["head.weight"])
    assert not torch.equal(heads[0], heads[1])


def test_a_point_that_is_not_frozen_moves_all_of_its_backbones(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]]
) -> None:
    init = Pretrained.load(jobs["tuned"][0].init).tensors
    tensors, _ = load_weights(grids["tuned"][0].file)
    assert [n for n, t in init.items() if torch.equal(tensors[in_classifier(n)], t)] == []


def in_classifier(name: str) -> str:
    """A classifier's name of a tensor of a pretrained file."""
    sensor, name = name.split(".", 1)
    return f"backbones.{sensor}.timm.{name}"


def test_a_header_says_what_the_point_is(
    jobs: dict[str, list[Job]], grids: dict[str, list[Trained]], tiny_store: PatchStore
) -> None:
    trained = grids["tuned"][1]
    _, header = load_weights(trained.file)
    assert json.loads(json.dumps(trained.header)) == header
    assert (header["fraction"], header["seed"], header["init"]) == (0.2, 1, "dual_simclr")
    assert (header["n_labels"], header["classes"]) == (8, ["Forest", "Urban", "Water"])
    assert header["n_validation"] < header["n_labels"]
    assert header["pretrained"] == {"method": "dual_simclr", "data_digest": tiny_store.digest}
    assert header["data_digest"] == tiny_store.digest
    assert header["recipe"] == jobs["tuned"][1].recipe.model_dump()
    assert str(trained.file.parent) not in json.dumps(header)


@pytest.mark.parametrize("fusion", ["s1", "s2", "early"])
def test_every_fusion_trains(jobs: dict[str, list[Job]], tmp_path: Path, fusion: Fusion) -> None:
    arm = Arm(init="random", fusion=fusion, frozen=False, lr=3e-3, backbone_lr_scale=1.0)
    trained = train_point(changed(jobs["late"][0], arm=arm, out=tmp_path))
    assert trained.header["fusion"] == fusion
    assert [m["epoch"] for m in trained.history] == list(range(1, len(trained.history) + 1))
    assert all(m["loss"] > 0 for m in trained.history)


def test_a_user_error_in_a_worker_reaches_the_stage(
    jobs: dict[str, list[Job]], tmp_path: Path
) -> None:
    good = changed(jobs["late"][0], out=tmp_path)
    with pytest.raises(UserError, match="3 classes"):
        list(train_points([good, changed(good, fraction=0.01)]))


# --- the index


def test_fractions_below_one_patch_a_class_are_left_out_with_the_reason(
    tiny_store: PatchStore,
) -> None:
    refused = too_small(tiny_store, [0.01, 0.05, 0.1, 1.0])
    assert set(refused) == {"0.01", "0.05"}
    assert "3 classes" in refused["0.05"]


def test_points_are_read_by_name(tmp_path: Path) -> None:
    write_index(tmp_path / "arm", ["1.0-0.safetensors", "0.1-0.safetensors"], {"0.01": "few"})
    (tmp_path / "arm/0.5-0.safetensors").write_bytes(b"of an earlier grid")
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
        (tmp_path / "points.json").write_text(content)
    with pytest.raises(UserError, match=r"points\.json.*run the stage"):
        read_index(tmp_path)
