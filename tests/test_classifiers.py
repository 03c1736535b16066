from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
import torch

from eocontrast.backbones import Architecture
from eocontrast.classifiers import STREAMS, classifier_from_header, new_classifier
from eocontrast.inputs import Batch
from eocontrast.modalities import SENSORS
from eocontrast.params import BackboneParams, Fusion
from eocontrast.patches import PatchStore
from eocontrast.weights import Pretrained

FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
CHANNELS = {"s1": {"s1": 2}, "s2": {"s2": 4}, "early": {"s1_s2": 6}, "late": {"s1": 2, "s2": 4}}


def random_init(store: PatchStore, params: BackboneParams) -> Pretrained:
    return Pretrained("random", Architecture(params.name, params.options), store.specs, {}, "")


def test_every_fusion_has_its_streams() -> None:
    assert set(STREAMS) == set(FUSIONS)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", ["resnet", "swin"])
def test_every_parameter_gets_a_gradient(
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
    name: str,
    fusion: Fusion,
) -> None:
    torch.manual_seed(0)
    classifier = new_classifier(random_init(tiny_store, tiny_backbones[name]), fusion, 3)
    rows = tiny_store.labelled("train")
    truth = torch.from_numpy(tiny_store.labels[rows])
    # ResNet ends its residual branches with a scale of zero: the first step opens them
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        logits = classifier(tiny_store.batch(rows, classifier.inputs))
        assert logits.shape == (42, 3)
        torch.autograd.backward(torch.nn.functional.cross_entropy(logits, truth))
        optimizer.step()
    gradients = {n: p.grad for n, p in classifier.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all()] == []
    assert [n for n, g in gradients.items() if g is not None and not g.any()] == []


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_fusion_sees_its_sensors_and_no_other(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], fusion: Fusion
) -> None:
    classifier = new_classifier(random_init(tiny_store, tiny_backbones["resnet"]), fusion, 3)
    classifier.eval()
    batch = tiny_store.batch(tiny_store.rows("test"))
    before = classifier(batch)
    expected = {"s1": {"s1"}, "s2": {"s2"}}.get(fusion, {"s1", "s2"})
    assert set(classifier.inputs) == expected
    for sensor in SENSORS:
        changed: Batch = {**batch, sensor: batch[sensor].flip(0)}
        assert torch.equal(classifier(changed), before) == (sensor not in expected)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_backbones_have_the_bands_of_their_streams(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], fusion: Fusion
) -> None:
    classifier = new_classifier(random_init(tiny_store, tiny_backbones["swin"]), fusion, 3)
    found = {
        name.split(".")[1]: tensor.shape[1]
        for name, tensor in classifier.state_dict().items()
        if name.endswith("patch_embed.proj.weight")
    }
    assert found == CHANNELS[fusion]


@pytest.mark.parametrize("fusion", ["s1", "s2", "late"])
def test_a_classifier_starts_from_its_init(tiny_inits: dict[str, Path], fusion: Fusion) -> None:
    init = Pretrained.load(tiny_inits["dual_simclr"])
    classifier = new_classifier(init, fusion, 3)
    for (sensor,) in STREAMS[fusion]:
        for name, tensor in init.tensors.items():
            if name.startswith(f"{sensor}."):
                ours = f"backbones.{sensor}.timm.{name.removeprefix(f'{sensor}.')}"
                assert torch.equal(classifier.state_dict()[ours], tensor)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_header_says_how_to_build_it_again(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams], fusion: Fusion
) -> None:
    init = random_init(tiny_store, tiny_backbones["swin"])
    classifier = new_classifier(init, fusion, 3).eval()
    header = {
        "architecture": init.architecture.to_dict(),
        "inputs": {sensor: spec.to_dict() for sensor, spec in init.specs.items()},
        "classes": ["a", "b", "c"],
        "fusion": fusion,
        "data_digest": "",
    }
    again = classifier_from_header(header).eval()
    again.load_state_dict(classifier.state_dict())
    batch = tiny_store.batch(tiny_store.rows("test"))
    assert torch.equal(again(batch), classifier(batch))
