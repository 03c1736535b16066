import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.build import load_finetuned
from eocontrast.models.finetuned import FORMAT
from eocontrast.models.weight_files import load_weights, save_weights
from eocontrast.models.weights import Pretrained, backbone_tensors
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError

TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor(3, dtype=torch.int64)}
HEADER = {"z": 1, "a": {"nested": [1, 2.5, "x"]}}


def test_tensors_and_header_come_back(tmp_path: Path) -> None:
    path = tmp_path / "deep/er/w.safetensors"
    save_weights(path, TENSORS, HEADER)
    tensors, header = load_weights(path)
    assert header == HEADER
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    save_weights(one, TENSORS, HEADER)
    transposed = TENSORS["b"].T.contiguous().T  # equal values, other strides
    save_weights(two, {"a": TENSORS["a"], "b": transposed}, dict(reversed(HEADER.items())))
    assert one.read_bytes() == two.read_bytes()
    save_weights(two, TENSORS, {**HEADER, "z": 2})
    assert one.read_bytes() != two.read_bytes()


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "half", "last byte", "first byte", "text", "folder", "foreign"]
)
def test_a_file_that_is_not_ours_or_not_whole_is_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, TENSORS, HEADER)
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "foreign":
        save_file(TENSORS, path, metadata={"format": "pt"})
    elif damage != "missing":
        contents = {
            "empty": b"",
            "half": whole[: len(whole) // 2],
            "last byte": whole[:-1],
            "first byte": b"\xff" * 8 + whole[8:],
            "text": b"version https://git-lfs.github.com/spec/v1\n",
        }
        path.write_bytes(contents[damage])
    for read in (load_weights, Pretrained.load):
        with pytest.raises(UserError, match=r"w\.safetensors"):
            read(path)


def test_weights_of_older_version(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(TENSORS, path, metadata={"eocontrast": json.dumps(HEADER)})
    with pytest.raises(
        UserError, match=r"w\.safetensors has no sha256.*another version.*dvc repro"
    ):
        load_weights(path)
    save_weights(path, TENSORS, {"method": "random", "inputs": {}})
    with pytest.raises(UserError, match=r"another version.*lacks 'architecture'.*dvc repro"):
        Pretrained.load(path)
    save_weights(path, TENSORS, {"classes": ["Forest"], "inputs": {}})
    with pytest.raises(UserError, match=r"header of format 1.*reads format 2.*dvc repro"):
        load_finetuned(path)
    header = {"format": FORMAT, "classes": ["Forest"], "inputs": {}}
    save_weights(path, TENSORS, header)
    with pytest.raises(UserError, match=r"another version.*lacks 'architecture'.*dvc repro"):
        load_finetuned(path)


def test_a_fine_tuned_file_is_no_init(tmp_path: Path) -> None:
    """`architecture` and `inputs` are in both, the rest is not."""
    path = tmp_path / "0.1-0.safetensors"
    save_weights(path, TENSORS, HEADER)
    with pytest.raises(UserError, match=r"0\.1-0\.safetensors"):
        Pretrained.load(path)


@pytest.fixture
def pretrained(tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]) -> Pretrained:
    params = tiny_backbones["resnet"]
    architecture = Architecture(params.name, params.options)
    backbones = {s: Backbone(architecture, {s: tiny_store.specs[s]}) for s in SENSORS}
    tensors = backbone_tensors(backbones)
    return Pretrained(
        method="dual_simclr",
        architecture=architecture,
        specs=tiny_store.specs,
        tensors=tensors,
        digest=tiny_store.digest,
        run={"epochs": 4, "lr": 1e-2, "bands": ["B02", "B03"]},
        patches=54,
        health={"spread": 0.5},
    )


def test_what_was_pretrained_comes_back(tmp_path: Path, pretrained: Pretrained) -> None:
    path = tmp_path / "w.safetensors"
    pretrained.save(path)
    again = Pretrained.load(path)
    for field in ("method", "architecture", "specs", "digest", "run", "patches", "health"):
        assert getattr(again, field) == getattr(pretrained, field)
    assert set(again.tensors) == set(pretrained.tensors)
    again.save(tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


def test_each_sensor_gets_its_own_weights(pretrained: Pretrained) -> None:
    s1, s2 = pretrained.backbone("s1"), pretrained.backbone("s2")
    for name, tensor in s1.timm.state_dict().items():
        assert torch.equal(tensor, pretrained.tensors[f"s1.{name}"])
    for name, tensor in s2.timm.state_dict().items():
        assert torch.equal(tensor, pretrained.tensors[f"s2.{name}"])
    assert list(s2.inputs) == ["s2"]


def test_a_method_of_one_sensor_has_one_backbone(tmp_path: Path, pretrained: Pretrained) -> None:
    path = tmp_path / "simclr.safetensors"
    tensors = {n: t for n, t in pretrained.tensors.items() if n.startswith("s2.")}
    specs: dict[Sensor, InputSpec] = {"s2": pretrained.specs["s2"]}
    replace(pretrained, method="simclr", specs=specs, tensors=tensors).save(path)
    alone = Pretrained.load(path)
    assert (list(alone.specs), alone.trained) == (["s2"], ("s2",))
    for name, tensor in alone.backbone("s2").timm.state_dict().items():
        assert torch.equal(tensor, pretrained.tensors[f"s2.{name}"])
    with pytest.raises(UserError, match=r"no backbone of s1.*simclr.*they are of s2"):
        alone.backbone("s1")


def test_a_method_without_tensors_draws_from_the_seed(pretrained: Pretrained) -> None:
    random = Pretrained("random", pretrained.architecture, pretrained.specs, {}, "")

    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(iter(random.backbone("s1").parameters())).detach()

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))
