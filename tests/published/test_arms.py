"""Two published weights of different architectures, joined as the init of frozen and tuned arms."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from specs import ARM

from eocontrast.config.arms import Arm
from eocontrast.config.finetuning import Recipes
from eocontrast.curve.cards import pretrained_card
from eocontrast.finetuning.points import Job
from eocontrast.finetuning.run import train_points
from eocontrast.modalities import Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.build import load_finetuned
from eocontrast.models.weights import Pretrained, backbone_tensors
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.published.catalogue import entry
from eocontrast.published.convert import joined

RESNET = Architecture("resnet10t", {"channels": [8, 8, 16, 16]})
VIT = Architecture("vit_tiny_patch16_224", {"depth": 1, "embed_dim": 12, "global_pool": "token"})


@pytest.fixture(scope="module")
def init(mixed_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet that saw mean +- 2 sd of Sentinel-1, and a ViT that saw DN / 10000 at 32 px."""
    store = PatchStore(mixed_folder)
    torch.manual_seed(0)
    s1 = replace(store.specs["s1"], scaling="two_sd", patch_size=224)
    s2 = replace(store.specs["s2"], scaling="division", patch_size=224, resize=32)
    parts = []
    chosen: list[tuple[Sensor, InputSpec, Architecture, str]] = [
        ("s1", s1, RESNET, "rn50_s1_moco"),
        ("s2", s2, VIT, "vitl16_rgb_dinov3_sat"),
    ]
    for sensor, spec, made, name in chosen:
        tensors = backbone_tensors({sensor: Backbone(made, {sensor: spec})})
        of = entry(name)
        part = Pretrained("published", made, {sensor: spec}, tensors, "", run={"name": name})
        data = {"name": of.data, "licence": of.licence}
        parts.append(replace(part, data=data, origins=({**of.origin, "sha256": "0" * 64},)))
    file = tmp_path_factory.mktemp("joined") / "init.safetensors"
    joined(parts).save(file)
    return file


def test_joined_init_survives_its_file(init: Path) -> None:
    whole = Pretrained.load(init)
    assert whole.trained == ("s1", "s2")
    assert [whole.architecture_of(sensor) for sensor in whole.trained] == [RESNET, VIT]
    assert whole.specs["s2"].resize == 32


@pytest.mark.parametrize("frozen", [True, False])
def test_arm_of_joined_init(
    init: Path, mixed_folder: Path, tiny_recipes: Recipes, tmp_path: Path, frozen: bool
) -> None:
    arm = Arm(**{**ARM, "init": "mine", "frozen": frozen})
    job = Job("mine", mixed_folder, init, arm, tiny_recipes, 1.0, 0, "no", tmp_path)
    (trained,) = train_points([job])
    model, spec = load_finetuned(trained.file)
    assert [origin["name"] for origin in spec.origins] == ["rn50_s1_moco", "vitl16_rgb_dinov3_sat"]
    assert spec.others == {"s2": VIT}
    start = Pretrained.load(init).backbone("s2").timm.state_dict()
    tuned = model.backbones["s2"]
    assert isinstance(tuned, Backbone)
    kept = tuned.timm.state_dict()
    changed = any(not torch.equal(start[name], tensor) for name, tensor in kept.items())
    assert changed is not frozen
    batch = PatchStore(mixed_folder).batch(np.arange(2), model.inputs)
    assert model(batch).isfinite().all()


def test_card_names_origins_and_licences(init: Path) -> None:
    card = pretrained_card(Pretrained.load(init), [])
    assert "`rn50_s1_moco`, pretrained on SSL4EO-S12, CC-BY-4.0. Cite: Wang et al." in card
    assert "Read before you publish**: `vitl16_rgb_dinov3_sat` (DINOv3 License)" in card
    assert "license: other" in card


def test_two_of_one_sensor_are_refused(init: Path) -> None:
    whole = Pretrained.load(init)
    with pytest.raises(Exception, match="two of these weights are of s1"):
        joined([whole, whole])
