from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from eocontrast.cells import pretrain_cell
from eocontrast.errors import UserError
from eocontrast.modalities import SENSORS
from eocontrast.params import BackboneParams, DualSimCLRRun, RandomRun
from eocontrast.patches import PatchStore
from eocontrast.weights import Pretrained

RANDOM = RandomRun(method="random", backbone="resnet")


def test_random_trains_nothing_and_leaves_the_input_spec(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    path = tmp_path / "random.safetensors"
    assert list(pretrain_cell(RANDOM, tiny_backbones["resnet"], tiny_store, path, "no")) == []
    loaded = Pretrained.load(path)
    assert (loaded.method, loaded.tensors) == ("random", {})
    assert loaded.specs == tiny_store.specs
    assert loaded.digest == tiny_store.digest
    assert loaded.architecture.name == tiny_backbones["resnet"].name


def test_random_refuses_an_unknown_backbone_at_once(tmp_path: Path, tiny_store: PatchStore) -> None:
    unknown = BackboneParams(name="resnet19", options={})
    with pytest.raises(UserError, match="resnet19"):
        list(pretrain_cell(RANDOM, unknown, tiny_store, tmp_path / "w", "no"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["resnet", "swin"])
def test_two_runs_write_the_same_bytes(
    tmp_path: Path,
    tiny_folder: Path,
    tiny_backbones: dict[str, BackboneParams],
    tiny_run: DualSimCLRRun,
    name: str,
) -> None:
    for file in ("one", "two"):
        torch.rand(3)  # what other code drew before must not matter
        store = PatchStore(tiny_folder)
        epochs = list(pretrain_cell(tiny_run, tiny_backbones[name], store, tmp_path / file, "no"))
        assert len(epochs) == tiny_run.epochs
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_killed_cell_continues_and_leaves_no_checkpoint(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    tiny_run: DualSimCLRRun,
) -> None:
    def cell(run: DualSimCLRRun, file: str) -> Iterator[dict[str, float]]:
        params, folder = tiny_backbones["resnet"], tmp_path / "checkpoints"
        return pretrain_cell(run, params, tiny_store, tmp_path / file, "no", folder)

    list(cell(tiny_run, "whole"))
    list(islice(cell(tiny_run, "continued"), 2))
    assert not (tmp_path / "continued").exists()
    (left,) = (tmp_path / "checkpoints").iterdir()
    # another run must not continue from it
    other = tiny_run.model_copy(update={"temperature": 0.3})
    list(cell(other, "other"))
    assert list((tmp_path / "checkpoints").iterdir()) == [left]
    list(cell(tiny_run, "continued"))
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert (tmp_path / "continued").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (tmp_path / "other").read_bytes() != (tmp_path / "whole").read_bytes()


def test_both_trained_backbones_are_saved(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    tiny_run: DualSimCLRRun,
) -> None:
    files = [tmp_path / "short", tmp_path / "long"]
    for file, epochs in zip(files, (1, 2), strict=True):
        run = tiny_run.model_copy(update={"epochs": epochs})
        list(pretrain_cell(run, tiny_backbones["resnet"], tiny_store, file, "no"))
    short, long = (Pretrained.load(file).tensors for file in files)
    for sensor in SENSORS:
        backbone = Pretrained.load(files[0]).backbone(sensor)
        names = {f"{sensor}.{name}" for name in backbone.timm.state_dict()}
        assert names <= set(short)
        assert not any(torch.equal(short[n], long[n]) for n in names if n.endswith("weight"))
    assert not any("projection" in name for name in short)
