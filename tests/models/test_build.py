from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from specs import finetuned_spec

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture
from eocontrast.models.build import load_finetuned, new_model
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.fusion import STREAMS, Fusion, Head
from eocontrast.models.model import Model
from eocontrast.models.segmenters import EncoderDecoder
from eocontrast.models.swin_unet import SwinUNet
from eocontrast.models.weight_files import save_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError


class Kind(NamedTuple):
    """A head on a backbone, and what it sees."""

    head: Head
    fusion: Fusion
    backbone: str
    segments: bool = False


KINDS = [
    *(Kind("linear", fusion, "resnet") for fusion in ("s1", "s2", "early", "late")),
    *(Kind("linear", fusion, "swin") for fusion in ("early", "late")),
    *(Kind("knn", fusion, "resnet") for fusion in ("s1", "s2", "late")),
    *(Kind("linear", fusion, "resnet", True) for fusion in ("s1", "late")),
    *(Kind("unet", fusion, "resnet", True) for fusion in ("s1", "s2", "early", "late", "scales")),
    *(Kind("upernet", fusion, "swin", True) for fusion in ("s2", "early", "late", "scales")),
    *(Kind("swin_unet", fusion, "swin", True) for fusion in ("s1", "s2", "late", "scales")),
]
CLASSES: dict[Head, type[Model]] = {
    "linear": Classifier,
    "knn": NeighbourClassifier,
    "unet": EncoderDecoder,
    "upernet": EncoderDecoder,
    "swin_unet": SwinUNet,
}
CHANNELS = {"s1": {"s1": 2}, "s2": {"s2": 4}, "early": {"s1_s2": 6}, "late": {"s1": 2, "s2": 4}}


def label(kind: Kind) -> str:
    return f"{kind.head}-{kind.fusion}-{kind.backbone}{'-pixels' * kind.segments}"


every_kind = pytest.mark.parametrize("kind", KINDS, ids=label)


def random_init(store: PatchStore, params: BackboneParams) -> Pretrained:
    return Pretrained("random", Architecture(params.name, params.options), store.specs, {}, "")


def spec_of(kind: Kind, init: Pretrained) -> FinetunedSpec:
    """As a fine-tuned file has it, by way of JSON."""
    spec = finetuned_spec(
        architecture=init.architecture,
        inputs=init.specs,
        classes=("a", "b", "c"),
        head=kind.head,
        fusion=kind.fusion,
        task="segmentation" if kind.segments else "single_label",
        n_labels=10,
        n_validation=4,
        recipe={"neighbours": 3, "neighbour_temperature": 0.1},
    )
    again = FinetunedSpec.from_dict(json.loads(json.dumps(spec.to_dict())), "model")
    assert again == spec
    return again


@every_kind
def test_load_finetuned_restores_model(
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
    tmp_path: Path,
    kind: Kind,
) -> None:
    init = random_init(tiny_store, tiny_backbones[kind.backbone])
    spec = spec_of(kind, init)
    torch.manual_seed(0)
    model = new_model(init, spec).eval()
    pixels = kind.segments and kind.head == "linear"
    assert type(model) is (EncoderDecoder if pixels else CLASSES[kind.head])
    batch = tiny_store.batch(tiny_store.rows("test"))
    if isinstance(model, NeighbourClassifier):
        train = tiny_store.batch(tiny_store.labelled("train")[:6])
        with torch.no_grad():
            model.remember(model.streams(train), torch.eye(3).repeat(2, 1))
    save_weights(tmp_path / "model.safetensors", model.state_dict(), spec.to_dict())
    again, described = load_finetuned(tmp_path / "model.safetensors")
    assert described == spec
    logits = model(batch)
    assert torch.equal(again(batch), logits)
    assert logits.shape == ((18, 3, 16, 16) if kind.segments else (18, 3))


@every_kind
def test_a_model_sees_the_sensors_of_its_fusion_and_no_other(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], kind: Kind
) -> None:
    init = random_init(tiny_store, tiny_backbones[kind.backbone])
    model = new_model(init, spec_of(kind, init)).eval()
    seen = {sensor for stream in STREAMS[kind.fusion] for sensor in stream}
    assert list(model.inputs) == [sensor for sensor in SENSORS if sensor in seen]
    if kind.head == "knn":  # an empty bank knows nothing
        return
    batch = tiny_store.batch(tiny_store.rows("test"))
    before = model(batch)
    for sensor in SENSORS:
        changed: Batch = {**batch, sensor: batch[sensor].flip(0)}
        assert torch.equal(model(changed), before) == (sensor not in seen)


@pytest.mark.parametrize("fusion", CHANNELS)
def test_backbones_have_the_bands_of_their_streams(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], fusion: Fusion
) -> None:
    init = random_init(tiny_store, tiny_backbones["swin"])
    model = new_model(init, spec_of(Kind("linear", fusion, "swin"), init))
    found = {
        name.split(".")[1]: tensor.shape[1]
        for name, tensor in model.state_dict().items()
        if name.endswith("patch_embed.proj.weight")
    }
    assert found == CHANNELS[fusion]


@every_kind
def test_what_an_init_does_not_supply_is_drawn_from_the_seed(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], kind: Kind
) -> None:
    init = random_init(tiny_store, tiny_backbones[kind.backbone])
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(new_model(init, spec_of(kind, init)).state_dict())
    first, again, other = states
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "kind",
    [
        Kind("linear", "s2", "swin"),
        Kind("linear", "late", "swin"),
        Kind("knn", "late", "swin"),
        Kind("swin_unet", "s1", "swin", True),
        Kind("upernet", "s1", "swin", True),
        Kind("swin_unet", "late", "swin", True),
        Kind("upernet", "late", "swin", True),
        Kind("swin_unet", "scales", "swin", True),
        Kind("upernet", "scales", "swin", True),
    ],
    ids=label,
)
def test_a_model_starts_from_its_init(swin_inits: Mapping[str, Any], kind: Kind) -> None:
    init = Pretrained.load(swin_inits["dual_simclr"])
    state = new_model(init, spec_of(kind, init)).state_dict()
    sensors: list[Sensor] = [sensor for (sensor,) in STREAMS[kind.fusion]]
    for name, tensor in init.tensors.items():
        sensor, _, own = name.partition(".")
        if sensor in sensors:
            assert torch.equal(state[f"backbones.{sensor}.timm.{own}"], tensor), name
    supplied = [n for n in state if n.startswith("backbones.") and ".timm." in n]
    assert len(supplied) == sum(n.partition(".")[0] in sensors for n in init.tensors)


def test_a_backbone_of_some_bands_stays_one_of_some_bands(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    """As weights that were pretrained on red, green and blue."""
    params, spec = tiny_backbones["resnet"], tiny_store.specs["s2"].select(["B04", "B03", "B02"])
    architecture = Architecture(params.name, params.options)
    init = Pretrained("simclr", architecture, {"s2": spec}, {}, "")
    model = new_model(init, spec_of(Kind("linear", "s2", "resnet"), init)).eval()
    batch = tiny_store.batch(tiny_store.rows("test"), model.inputs)
    assert batch["s2"].shape[1] == 3
    assert model(batch).shape == (18, 3)


@pytest.mark.parametrize("found", [1, 3])
def test_other_format_refused(tmp_path: Path, found: int) -> None:
    """A header without a version is one of format 1."""
    header = finetuned_spec().to_dict() | {"format": found}
    if found == 1:
        del header["format"]
    save_weights(tmp_path / "old.safetensors", {}, header)
    with pytest.raises(
        UserError, match=rf"old.safetensors has a header of format {found};.*dvc repro"
    ):
        load_finetuned(tmp_path / "old.safetensors")
