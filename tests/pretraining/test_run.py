from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from eocontrast.config.pretraining import (
    BackboneParams,
    ContrastiveRun,
    DualSimCLRRun,
    MMARun,
    RandomRun,
    SimCLRRun,
)
from eocontrast.modalities import SENSORS
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.batches import split_rows
from eocontrast.pretraining.run import Trained, cell_digest, pretrain_cell
from eocontrast.runtime.errors import UserError

RANDOM = RandomRun(method="random", backbone="resnet")
SHARED = ContrastiveRun(
    backbone="resnet",
    seed=0,
    epochs=2,
    warmup_epochs=1,
    batch_size=8,
    groups_per_batch=0,
    mask_same_group=False,
    crop=12,
    flips=True,
    lr=1e-2,
    weight_decay=1e-4,
    temperature=0.2,
)
SIMCLR = SimCLRRun(
    method="simclr",
    sensor="s2",
    bands=("B04", "B03", "B02"),
    min_scale=0.5,
    jitter=0.5,
    projection_dim=16,
    **SHARED.model_dump(),
)
MMA = MMARun(method="mma", shared_crop=True, max_offset=1, **SHARED.model_dump())


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
    unknown = BackboneParams(name="resnet19", options={}, scaling="band_statistics")
    with pytest.raises(UserError, match="resnet19"):
        list(pretrain_cell(RANDOM, unknown, tiny_store, tmp_path / "w", "no"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "name"),
    [(None, "resnet"), (None, "swin"), (SIMCLR, "resnet"), (MMA, "vgg")],
    ids=["dual_simclr-resnet", "dual_simclr-swin", "simclr", "mma"],
)
def test_two_runs_write_the_same_bytes(
    tmp_path: Path,
    tiny_folder: Path,
    tiny_backbones: dict[str, BackboneParams],
    tiny_run: DualSimCLRRun,
    run: SimCLRRun | MMARun | None,
    name: str,
) -> None:
    cell = run or tiny_run
    for file in ("one", "two"):
        torch.rand(3)  # what other code drew before must not matter
        store = PatchStore(tiny_folder)
        epochs = list(pretrain_cell(cell, tiny_backbones[name], store, tmp_path / file, "no"))
        assert len(epochs) == cell.epochs
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("run", "name"),
    [(None, "resnet"), (SIMCLR, "resnet"), (MMA, "vgg")],
    ids=["dual_simclr", "simclr", "mma"],
)
def test_a_killed_cell_continues_from_the_checkpoint_of_its_name(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    tiny_run: DualSimCLRRun,
    run: SimCLRRun | MMARun | None,
    name: str,
) -> None:
    chosen: Trained = run or tiny_run

    def cell(run: Trained, file: str) -> Iterator[dict[str, float]]:
        params = tiny_backbones[name]
        kept = tmp_path / cell_digest(run, params, tiny_store, "no")
        return pretrain_cell(run, params, tiny_store, tmp_path / file, "no", kept)

    list(cell(chosen, "whole"))
    kept = tmp_path / cell_digest(chosen, tiny_backbones[name], tiny_store, "no")
    kept.unlink()
    list(islice(cell(chosen, "continued"), 1))
    assert not (tmp_path / "continued").exists()
    written = kept.read_bytes()
    # another run must not continue from it
    other = chosen.model_copy(update={"temperature": 0.3})
    list(cell(other, "other"))
    assert kept.read_bytes() == written
    list(cell(chosen, "continued"))
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


def test_simclr_saves_the_backbone_of_its_sensor_and_bands_alone(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    path = tmp_path / "simclr"
    list(pretrain_cell(SIMCLR, tiny_backbones["resnet"], tiny_store, path, "no"))
    loaded = Pretrained.load(path)
    assert loaded.trained == tuple(loaded.specs) == ("s2",)
    spec, stored = loaded.specs["s2"], tiny_store.specs["s2"]
    assert spec == replace(stored.select(SIMCLR.bands), patch_size=12)
    assert spec.mean == tuple(stored.mean[band] for band in (2, 1, 0))
    every = SIMCLR.model_copy(update={"sensor": "s1", "bands": ()})
    list(pretrain_cell(every, tiny_backbones["resnet"], tiny_store, path, "no"))
    assert Pretrained.load(path).specs == {"s1": replace(tiny_store.specs["s1"], patch_size=12)}


def test_bands_that_the_data_lack_are_named(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    run = SIMCLR.model_copy(update={"bands": ("B04", "B11", "B12")})
    with pytest.raises(UserError, match=r"no band B11, B12 among B02, B03, B04, B08"):
        list(pretrain_cell(run, tiny_backbones["resnet"], tiny_store, tmp_path / "w", "no"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("run", [RANDOM, SIMCLR, MMA], ids=["random", "simclr", "mma"])
def test_weights_know_how_their_images_were_scaled(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    run: RandomRun | SimCLRRun | MMARun,
) -> None:
    params = tiny_backbones["resnet"].model_copy(update={"scaling": "crop_maximum"})
    list(pretrain_cell(run, params, tiny_store, tmp_path / "w", "no"))
    for sensor, spec in Pretrained.load(tmp_path / "w").specs.items():
        assert spec.scaling == "crop_maximum"
        assert spec.modality.valid_range == tiny_store.specs[sensor].modality.valid_range
        assert spec.patch_size == (16 if run is RANDOM else 12)


def test_weights_say_what_the_run_was(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    path = tmp_path / "w"
    epochs = list(pretrain_cell(MMA, tiny_backbones["vgg"], tiny_store, path, "no"))
    loaded = Pretrained.load(path)
    assert MMARun.model_validate(loaded.run) == MMA
    train, watched = split_rows(tiny_store, MMA.seed)
    assert loaded.patches == len(train) == 54 - len(watched)
    assert loaded.health == pytest.approx(epochs[-1], rel=1e-5)
    assert {"loss", "spread", "mean_cosine", "effective_rank", "retrieval_top1"} < set(
        loaded.health
    )
    list(pretrain_cell(RANDOM, tiny_backbones["resnet"], tiny_store, path, "no"))
    random = Pretrained.load(path)
    assert (random.run, random.patches, random.health) == (RANDOM.model_dump(), 0, {})
