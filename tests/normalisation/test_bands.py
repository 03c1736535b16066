from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eocontrast.modalities import SENTINEL2_L1C, SENTINEL2_L2A, Modality, Sensor
from eocontrast.normalisation.bands import stored_bands
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.source import read_source
from eocontrast.runtime.errors import UserError

if TYPE_CHECKING:
    from eocontrast.config.pretraining import BackboneParams, DualSimCLRRun
    from eocontrast.models.backbones import Backbone

WriteSource = Callable[..., Path]
Build = Callable[..., PatchStore]

FILL: dict[Sensor, tuple[str, ...]] = {"s1": (), "s2": ("B10",)}
ALL = np.arange(12)
SPLITS = ["pretrain"] * 3 + ["train"] * 6 + ["test"] * 3


@pytest.fixture
def build(write_source: WriteSource) -> Build:
    """A store of rasters of some bands, which show what the thirteen would show in these."""

    def build(bands: Modality, name: str, **choice: object) -> PatchStore:
        def edit(place: int, s1: NDArray[Any], s2: NDArray[Any]) -> tuple[NDArray[Any], ...]:
            noise = np.random.default_rng(place).integers(0, 100, (13, *s2.shape[1:]))
            places = [SENTINEL2_L1C.bands.index(band) for band in bands.bands]
            return s1, (s2[np.arange(13) % 4] + noise)[places].astype(np.uint16)

        raw = write_source(name, splits=SPLITS, edit=edit, size=32)
        replace(read_source(raw), s2=bands, rasters=None).write(raw)
        fixed: dict[str, Any] = {"seed": 0, "test_fraction": 0.3, "shard_mib": 1, "workers": 1}
        store, audit = raw.parent / f"{name}_store", raw.parent / f"{name}.json"
        limits = {"max_bad_fraction": 0, "check_shift": False}
        build_store(raw, store, audit, **{**fixed, **limits, **choice})
        return PatchStore(store)

    return build


def test_a_dropped_band_is_as_if_it_had_never_been_there(build: Build) -> None:
    dropped = build(SENTINEL2_L1C, "dropped", drop_bands=("B10",))
    never = build(SENTINEL2_L2A, "never")
    assert dropped.specs == never.specs
    assert dropped.digest == never.digest


def test_a_band_that_no_raster_has_may_be_dropped(build: Build) -> None:
    assert (
        build(SENTINEL2_L2A, "one", drop_bands=("B10",)).specs == build(SENTINEL2_L2A, "two").specs
    )


def test_a_filled_band_is_no_data_and_changes_nothing_else(build: Build) -> None:
    plain = build(SENTINEL2_L2A, "plain", check_shift=True)
    filled = build(SENTINEL2_L2A, "filled", fill_bands=FILL, check_shift=True)
    spec, s2 = filled.specs["s2"], filled.read("s2", ALL)
    assert spec.modality.bands == (*SENTINEL2_L2A.bands, "B10")
    assert (s2[:, -1] == spec.modality.storage.nodata).all()
    np.testing.assert_array_equal(s2[:, :-1], plain.read("s2", ALL))
    assert (spec.mean[:-1], spec.sd[:-1]) == (plain.specs["s2"].mean, plain.specs["s2"].sd)
    assert (spec.mean[-1], spec.sd[-1]) == (0, 1)
    assert filled.specs["s1"] == plain.specs["s1"]
    assert filled.index.equals(plain.index)
    assert filled.digest != plain.digest
    assert (filled.index["valid"] == 1).all()
    audits = [
        json.loads((filled.folder.parent / f"{n}.json").read_text()) for n in ("plain", "filled")
    ]
    assert audits[0] == audits[1]


def test_a_band_that_rasters_have_is_not_filled(build: Build) -> None:
    asked = build(SENTINEL2_L1C, "asked", fill_bands=FILL)
    assert asked.digest == build(SENTINEL2_L1C, "plain").digest


def test_another_choice_of_bands_does_not_continue_the_shards_of_one(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eocontrast.normalisation import build as normalisation

    with monkeypatch.context() as patched:
        patched.setattr(normalisation, "write_index", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(SENTINEL2_L2A, "same")
    again = build(SENTINEL2_L2A, "same", fill_bands=FILL)
    assert again.digest == build(SENTINEL2_L2A, "fresh", fill_bands=FILL).digest


def test_a_sensor_keeps_a_band(write_source: WriteSource) -> None:
    with pytest.raises(UserError, match=r"drop_bands names every band of s1: VV, VH; leave one"):
        stored_bands(read_source(write_source()), ("VH", "VV", "B02"))


def test_a_band_of_one_value_is_told_with_the_parameter_that_drops_it(
    write_source: WriteSource, tmp_path: Path
) -> None:
    def flat(place: int, s1: NDArray[Any], s2: NDArray[Any]) -> None:
        s2[2] = 700

    raw = write_source(splits=SPLITS, edit=flat)
    given: dict[str, Any] = {"seed": 0, "test_fraction": 0, "shard_mib": 1, "max_bad_fraction": 0}
    given |= {"check_shift": False, "workers": 1}
    with pytest.raises(UserError, match=r"B04.*normalise\.drop_bands"):
        build_store(raw, tmp_path / "store", tmp_path / "audit.json", **given)
    build_store(raw, tmp_path / "store", tmp_path / "audit.json", drop_bands=("B04",), **given)
    assert PatchStore(tmp_path / "store").specs["s2"].modality.bands == ("B02", "B03", "B08")


# --- weights of one store on another


def drawn(store: PatchStore, params: BackboneParams) -> Backbone:
    """A backbone that expects the Sentinel-2 of a store."""
    from eocontrast.models.backbones import Architecture, Backbone

    torch.manual_seed(0)
    architecture = Architecture(params.name, params.options)
    return Backbone(architecture, {"s2": store.specs["s2"]}).eval()


def features(backbone: Backbone, store: PatchStore) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = backbone(store.batch(ALL, backbone.inputs))
    return found


def test_weights_of_thirteen_bands_see_the_mean_of_the_one_that_lacks(
    build: Build, tiny_backbones: dict[str, BackboneParams]
) -> None:
    thirteen = build(SENTINEL2_L1C, "thirteen")
    backbone = drawn(thirteen, tiny_backbones["resnet"])
    with pytest.raises(UserError, match=r"lack B10;.*drop_bands.*fill_bands"):
        features(backbone, build(SENTINEL2_L2A, "twelve"))
    found = features(backbone, build(SENTINEL2_L2A, "filled", fill_bands=FILL))
    batch = thirteen.batch(ALL)
    place = SENTINEL2_L1C.bands.index("B10")
    batch["s2"] = batch["s2"].float()
    batch["s2"][:, place] = backbone.inputs["s2"].mean[place]
    with torch.no_grad():
        torch.testing.assert_close(found, backbone({"s2": batch["s2"]}), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, features(backbone, thirteen), atol=1e-4)


def test_weights_of_twelve_bands_find_theirs_among_thirteen(
    build: Build, tiny_backbones: dict[str, BackboneParams]
) -> None:
    thirteen = build(SENTINEL2_L1C, "thirteen")
    for twelve in (
        build(SENTINEL2_L2A, "twelve"),
        build(SENTINEL2_L1C, "dropped", drop_bands=("B10",)),
    ):
        backbone = drawn(twelve, tiny_backbones["resnet"])
        torch.testing.assert_close(features(backbone, thirteen), features(backbone, twelve))


def test_a_store_with_a_filled_band_can_be_pretrained_on(
    build: Build, tiny_backbones: dict[str, BackboneParams], tiny_run: DualSimCLRRun, tmp_path: Path
) -> None:
    from eocontrast.models.weights import Pretrained
    from eocontrast.pretraining.run import pretrain_run

    filled, file = build(SENTINEL2_L2A, "filled", fill_bands=FILL), tmp_path / "w.safetensors"
    run = tiny_run.model_copy(update={"epochs": 1, "batch_size": 4})
    epochs = list(pretrain_run(run, tiny_backbones["resnet"], filled, file, "no"))
    assert all(np.isfinite(epoch["loss"]) for epoch in epochs)
    assert Pretrained.load(file).specs["s2"].modality.bands[-1] == "B10"
