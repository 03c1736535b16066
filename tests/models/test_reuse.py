import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import eocontrast
from eocontrast.config.pretraining import BackboneParams, ImportedRun
from eocontrast.modalities import SENSORS, SENTINEL2_L1C, Sensor
from eocontrast.models.reuse import load_backbone
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import pretrain_run
from eocontrast.published.convert import input_spec
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256


def physical(store: PatchStore, sensor: Sensor) -> NDArray[np.float32]:
    """Patches as a user has them, with a hole."""
    values = store.specs[sensor].modality.decode(store.read(sensor, store.rows("test")))
    values[0, :, :3] = np.nan
    return values


@pytest.mark.parametrize("sensor", SENSORS)
def test_features_of_physical_values(
    tiny_inits: dict[str, Path], tiny_store: PatchStore, sensor: Sensor
) -> None:
    backbone = load_backbone(tiny_inits["dual_simclr"], sensor)
    modality = tiny_store.specs[sensor].modality
    values = physical(tiny_store, sensor)[:, ::-1].copy()
    images = backbone.input_spec.prepare(values, bands=modality.bands[::-1], units=modality.units)
    stored = torch.from_numpy(tiny_store.read(sensor, tiny_store.rows("test")))
    stored[0, :, :3] = modality.storage.nodata
    ours = Pretrained.load(tiny_inits["dual_simclr"]).backbone(sensor).eval()
    with torch.no_grad():
        assert torch.equal(backbone(images), ours({sensor: stored}))


def test_loaded_backbone_is_timm_model(tiny_inits: dict[str, Path], tiny_store: PatchStore) -> None:
    backbone = eocontrast.load_backbone(str(tiny_inits["dual_simclr"]), "s2")
    assert type(backbone).__module__.startswith("timm.")
    assert not backbone.training
    crops = 12  # of the pretraining
    assert backbone.input_spec == replace(tiny_store.specs["s2"], patch_size=crops)
    assert all("input_spec" not in name for name in backbone.state_dict())


def test_sensor_without_weights_refused(tmp_path: Path, tiny_inits: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"random\.safetensors holds no weights for s1.*random"):
        load_backbone(tiny_inits["random"], "s1")
    whole = Pretrained.load(tiny_inits["dual_simclr"])
    tensors = {n: t for n, t in whole.tensors.items() if n.startswith("s2.")}
    alone = replace(whole, method="simclr", specs={"s2": whole.specs["s2"]}, tensors=tensors)
    alone.save(tmp_path / "simclr.safetensors")
    with pytest.raises(UserError, match=r"no backbone of s1.*simclr.*they are of s2"):
        load_backbone(tmp_path / "simclr.safetensors", "s1")
    assert load_backbone(tmp_path / "simclr.safetensors", "s2").num_features > 0


def test_package_imports_lazily() -> None:
    heavy: Any = ("torch", "timm", "numpy", "pandas")
    code = f"import sys, eocontrast; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="load_backbones"):
        _ = eocontrast.load_backbones


@pytest.fixture
def imported(tiny_inits: dict[str, Path], tiny_backbones: dict[str, BackboneParams]) -> ImportedRun:
    """A run that takes over the weights of another one."""
    assert tiny_backbones["resnet"].name == "resnet10t"
    file = tiny_inits["dual_simclr"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return ImportedRun(method="imported", backbone="resnet", file=file, sha256=digest)


def take_over(
    run: ImportedRun, backbone: BackboneParams, store: PatchStore, out: Path
) -> list[dict[str, float]]:
    return list(pretrain_run(run, backbone, store, out, "no"))


def test_imported_run_copies_file(
    tmp_path: Path,
    imported: ImportedRun,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
) -> None:
    out = tmp_path / "out.safetensors"
    assert take_over(imported, tiny_backbones["resnet"], tiny_store, out) == []
    assert out.read_bytes() == imported.file.read_bytes()


def test_unfit_imported_run_refused(
    tmp_path: Path,
    imported: ImportedRun,
    tiny_inits: dict[str, Path],
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
) -> None:
    def refused(run: ImportedRun, says: str, backbone: str = "resnet") -> None:
        with pytest.raises(UserError, match=says):
            take_over(run, tiny_backbones[backbone], tiny_store, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    other = "0" * 64
    refused(imported.model_copy(update={"sha256": other}), f"{imported.sha256}.*pins {other}")
    refused(imported.model_copy(update={"file": tmp_path / "gone"}), "gone cannot be read")
    refused(imported, "is a resnet10t.*names the backbone swin_tiny", "swin")
    random = tiny_inits["random"]
    update = {"file": random, "sha256": file_sha256(random)}
    refused(imported.model_copy(update=update), "holds no weights.*random")


def test_missing_bands_refused(
    tmp_path: Path,
    imported: ImportedRun,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
) -> None:
    whole = Pretrained.load(imported.file)
    thirteen = input_spec(SENTINEL2_L1C, 224, "crop_maximum")
    file = tmp_path / "thirteen.safetensors"
    replace(whole, specs={**whole.specs, "s2": thirteen}).save(file)
    run = imported.model_copy(update={"file": file, "sha256": file_sha256(file)})
    with pytest.raises(UserError, match=r"thirteen\.safetensors.*s2.*data lack B01, B05"):
        take_over(run, tiny_backbones["resnet"], tiny_store, tmp_path / "out")
