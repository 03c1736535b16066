from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from runs import DUAL_SIMCLR, MMA, RANDOM, SIMCLR

from eocontrast.config.pretraining import BackboneParams, MMARun, RandomRun
from eocontrast.modalities import SENSORS
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.batches import split_rows
from eocontrast.pretraining.run import Trained, pretrain_run, run_digest
from eocontrast.runtime.errors import UserError


def test_random_saves_input_specs(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    path = tmp_path / "random.safetensors"
    assert list(pretrain_run(RANDOM, tiny_backbones["resnet"], tiny_store, path, "no")) == []
    loaded = Pretrained.load(path)
    assert (loaded.method, loaded.tensors) == ("random", {})
    assert loaded.specs == tiny_store.specs
    assert loaded.digest == tiny_store.digest
    assert loaded.architecture.name == tiny_backbones["resnet"].name


def test_random_with_unknown_backbone(tmp_path: Path, tiny_store: PatchStore) -> None:
    unknown = BackboneParams(name="resnet19", options={}, scaling="band_statistics")
    with pytest.raises(UserError, match="resnet19"):
        list(pretrain_run(RANDOM, unknown, tiny_store, tmp_path / "w", "no"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "name"),
    [(DUAL_SIMCLR, "resnet"), (DUAL_SIMCLR, "swin"), (SIMCLR, "resnet"), (MMA, "vgg")],
    ids=["dual_simclr-resnet", "dual_simclr-swin", "simclr", "mma"],
)
def test_bytes_of_two_runs(
    tmp_path: Path,
    tiny_folder: Path,
    tiny_backbones: dict[str, BackboneParams],
    run: Trained,
    name: str,
) -> None:
    for file in ("one", "two"):
        torch.rand(3)  # what other code drew before must not matter
        store = PatchStore(tiny_folder)
        epochs = list(pretrain_run(run, tiny_backbones[name], store, tmp_path / file, "no"))
        assert len(epochs) == run.epochs
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("run", "name"),
    [(DUAL_SIMCLR, "resnet"), (SIMCLR, "resnet"), (MMA, "vgg")],
    ids=["dual_simclr", "simclr", "mma"],
)
def test_killed_run_resumes(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    run: Trained,
    name: str,
) -> None:
    def trained(run: Trained, file: str) -> Iterator[dict[str, float]]:
        params = tiny_backbones[name]
        kept = tmp_path / run_digest(run, params, tiny_store, "no")
        return pretrain_run(run, params, tiny_store, tmp_path / file, "no", kept)

    list(trained(run, "whole"))
    kept = tmp_path / run_digest(run, tiny_backbones[name], tiny_store, "no")
    kept.unlink()
    list(islice(trained(run, "continued"), 1))
    assert not (tmp_path / "continued").exists()
    written = kept.read_bytes()
    # another run must not continue from it
    other = run.model_copy(update={"temperature": 0.3})
    list(trained(other, "other"))
    assert kept.read_bytes() == written
    list(trained(run, "continued"))
    assert (tmp_path / "continued").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (tmp_path / "other").read_bytes() != (tmp_path / "whole").read_bytes()


def test_both_backbones_are_saved(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
) -> None:
    files = [tmp_path / "short", tmp_path / "long"]
    for file, epochs in zip(files, (1, 2), strict=True):
        run = DUAL_SIMCLR.model_copy(update={"epochs": epochs})
        list(pretrain_run(run, tiny_backbones["resnet"], tiny_store, file, "no"))
    short, long = (Pretrained.load(file).tensors for file in files)
    for sensor in SENSORS:
        backbone = Pretrained.load(files[0]).backbone(sensor)
        names = {f"{sensor}.{name}" for name in backbone.timm.state_dict()}
        assert names <= set(short)
        assert not any(torch.equal(short[n], long[n]) for n in names if n.endswith("weight"))
    assert not any("projection" in name for name in short)


def test_simclr_saves_one_backbone(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    path = tmp_path / "simclr"
    list(pretrain_run(SIMCLR, tiny_backbones["resnet"], tiny_store, path, "no"))
    loaded = Pretrained.load(path)
    assert loaded.trained == tuple(loaded.specs) == ("s2",)
    spec, stored = loaded.specs["s2"], tiny_store.specs["s2"]
    assert spec == replace(stored.select(SIMCLR.bands), patch_size=12)
    assert spec.mean == tuple(stored.mean[band] for band in (2, 1, 0))
    every = SIMCLR.model_copy(update={"sensor": "s1", "bands": ()})
    list(pretrain_run(every, tiny_backbones["resnet"], tiny_store, path, "no"))
    assert Pretrained.load(path).specs == {"s1": replace(tiny_store.specs["s1"], patch_size=12)}


def test_bands_missing_in_the_data(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    run = SIMCLR.model_copy(update={"bands": ("B04", "B11", "B12")})
    with pytest.raises(UserError, match=r"no band B11, B12 among B02, B03, B04, B08"):
        list(pretrain_run(run, tiny_backbones["resnet"], tiny_store, tmp_path / "w", "no"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("run", [RANDOM, SIMCLR, MMA], ids=["random", "simclr", "mma"])
def test_weights_hold_the_scaling(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    run: RandomRun | Trained,
) -> None:
    params = tiny_backbones["resnet"].model_copy(update={"scaling": "crop_maximum"})
    list(pretrain_run(run, params, tiny_store, tmp_path / "w", "no"))
    for sensor, spec in Pretrained.load(tmp_path / "w").specs.items():
        assert spec.scaling == "crop_maximum"
        assert spec.modality.valid_range == tiny_store.specs[sensor].modality.valid_range
        assert spec.patch_size == (16 if run is RANDOM else 12)


def test_weights_hold_the_run(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    path = tmp_path / "w"
    epochs = list(pretrain_run(MMA, tiny_backbones["vgg"], tiny_store, path, "no"))
    loaded = Pretrained.load(path)
    assert MMARun.model_validate(loaded.run) == MMA
    train, watched = split_rows(tiny_store, MMA.seed)
    assert loaded.patches == len(train) == 54 - len(watched)
    assert loaded.health == pytest.approx(epochs[-1], rel=1e-5)
    assert {"loss", "spread", "mean_cosine", "effective_rank", "retrieval_top1"} < set(
        loaded.health
    )
    list(pretrain_run(RANDOM, tiny_backbones["resnet"], tiny_store, path, "no"))
    random = Pretrained.load(path)
    assert (random.run, random.patches, random.health) == (RANDOM.model_dump(), 0, {})
