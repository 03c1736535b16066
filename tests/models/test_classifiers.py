from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.classifiers import Classifier, NeighbourClassifier
from eocontrast.models.fusion import STREAMS, Fusion
from eocontrast.models.model import Streams
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore

FUSIONS: tuple[Fusion, ...] = ("s1", "s2", "early", "late")
LABELLED, ASKED, CLASSES = 30, 11, 4


def backbones(store: PatchStore, params: BackboneParams, fusion: Fusion) -> dict[str, Backbone]:
    architecture = Architecture(params.name, params.options)
    torch.manual_seed(0)
    return {
        "_".join(sensors): Backbone(architecture, {s: store.specs[s] for s in sensors})
        for sensors in STREAMS[fusion]
    }


# --- the linear head


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", ["resnet", "swin"])
def test_every_parameter_gets_a_gradient(
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
    name: str,
    fusion: Fusion,
) -> None:
    classifier = Classifier(backbones(tiny_store, tiny_backbones[name], fusion), 3)
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
    classifier = Classifier(backbones(tiny_store, tiny_backbones["resnet"], fusion), 3).eval()
    batch = tiny_store.batch(tiny_store.rows("test"))
    before = classifier(batch)
    expected = {"s1": {"s1"}, "s2": {"s2"}}.get(fusion, {"s1", "s2"})
    assert set(classifier.inputs) == expected
    for sensor in SENSORS:
        changed: Batch = {**batch, sensor: batch[sensor].flip(0)}
        assert torch.equal(classifier(changed), before) == (sensor not in expected)


# --- a vote of neighbours


def drawn(size: int, seed: int) -> Streams:
    """Features of two backbones, at scales far apart."""
    draws = torch.Generator().manual_seed(seed)
    s1, s2 = torch.randn(2, size, 16, generator=draws)
    return {"s1": 1e-2 * s1, "s2": 1e3 * (s2 + 0.5)}


def voters(exclusive: bool) -> torch.Tensor:
    """One class a labelled patch, or any number of them, none included."""
    draws = torch.Generator().manual_seed(5)
    if exclusive:
        labels = torch.randint(CLASSES, (LABELLED,), generator=draws)
        return torch.nn.functional.one_hot(labels, CLASSES)
    return torch.rand(LABELLED, CLASSES, generator=draws) < 0.4


@pytest.fixture
def parts(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> dict[str, Backbone]:
    return backbones(tiny_store, tiny_backbones["resnet"], "late")


def neighbours(
    parts: dict[str, Backbone], number: int, temperature: float, exclusive: bool
) -> NeighbourClassifier:
    model = NeighbourClassifier(parts, LABELLED, CLASSES, number, temperature, exclusive).eval()
    model.remember(drawn(LABELLED, 0), voters(exclusive))
    return model


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = vector / np.sqrt((vector**2).sum())
    return scaled


def cosine(one: Streams, i: int, two: Streams, j: int) -> float:
    """The mean over both sensors of the cosine between two places."""
    cosines = [unit(one[s][i].double().numpy()) @ unit(two[s][j].double().numpy()) for s in SENSORS]
    return float(np.mean(cosines))


def shares_by_hand(number: int, temperature: float, exclusive: bool) -> NDArray[np.float64]:
    """Share of the vote of every class, one patch and one neighbour after the other."""
    bank, asked, votes = drawn(LABELLED, 0), drawn(ASKED, 1), voters(exclusive)
    shares = np.zeros((ASKED, CLASSES))
    for place in range(ASKED):
        found = sorted(((cosine(asked, place, bank, j), j) for j in range(LABELLED)), reverse=True)
        weights = [np.exp(similarity / temperature) for similarity, _ in found[:number]]
        for weight, (_, labelled) in zip(weights, found, strict=False):
            for label in range(CLASSES):
                if votes[labelled, label]:
                    shares[place, label] += weight / sum(weights)
    return shares


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("number", "temperature"), [(1, 0.07), (5, 0.07), (10, 1.0), (30, 0.5)])
def test_the_vote_is_the_loop_over_neighbours(
    parts: dict[str, Backbone], number: int, temperature: float, exclusive: bool
) -> None:
    logits = neighbours(parts, number, temperature, exclusive).join(drawn(ASKED, 1)).double()
    found = logits.softmax(1) if exclusive else logits.sigmoid()
    expected = torch.from_numpy(shares_by_hand(number, temperature, exclusive))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert logits.isfinite().all()


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("number", "temperature"), [(1, 1.0), (30, 1e-4)])
def test_one_neighbour_or_no_temperature_is_the_nearest_neighbour(
    parts: dict[str, Backbone], number: int, temperature: float, exclusive: bool
) -> None:
    bank, asked = drawn(LABELLED, 0), drawn(ASKED, 1)
    nearest = [
        max(range(LABELLED), key=lambda j, i=place: cosine(asked, i, bank, j))  # type: ignore[misc]
        for place in range(ASKED)
    ]
    logits = neighbours(parts, number, temperature, exclusive).join(asked)
    votes = voters(exclusive)[nearest]
    if exclusive:
        assert torch.equal(logits.argmax(1), votes.argmax(1))
    else:
        assert torch.equal(logits > 0, votes)


@pytest.mark.parametrize("exclusive", [True, False])
def test_all_neighbours_at_a_high_temperature_say_how_frequent_classes_are(
    parts: dict[str, Backbone], exclusive: bool
) -> None:
    logits = neighbours(parts, LABELLED, 1e4, exclusive).join(drawn(ASKED, 1))
    found = logits.softmax(1) if exclusive else logits.sigmoid()
    frequent = voters(exclusive).float().mean(0).expand(ASKED, -1)
    torch.testing.assert_close(found, frequent, rtol=1e-3, atol=1e-5)


def test_more_neighbours_than_labelled_patches_are_all_of_them(parts: dict[str, Backbone]) -> None:
    some, all_of_them = (neighbours(parts, n, 0.5, True) for n in (1000, LABELLED))
    assert torch.equal(some.join(drawn(ASKED, 1)), all_of_them.join(drawn(ASKED, 1)))


def test_a_labelled_patch_is_its_own_nearest_neighbour(parts: dict[str, Backbone]) -> None:
    logits = neighbours(parts, 1, 0.07, True).join(drawn(LABELLED, 0))
    assert torch.equal(logits.argmax(1), voters(True).argmax(1))


def test_both_sensors_count_alike_whatever_their_scale(parts: dict[str, Backbone]) -> None:
    model = neighbours(parts, 3, 0.1, True)
    asked = drawn(ASKED, 1)
    scaled = {"s1": 100 * asked["s1"], "s2": 0.01 * asked["s2"]}
    torch.testing.assert_close(model.join(scaled), model.join(asked), rtol=1e-3, atol=1e-4)


def test_neighbours_are_told_apart_in_half_precision(parts: dict[str, Backbone]) -> None:
    """Near 1 the steps of bfloat16 are 0.004; the precision may be that on other machines."""
    model = neighbours(parts, 1, 0.07, True)
    alike = {s: part[:1] + 0.1 * part for s, part in drawn(LABELLED, 0).items()}
    model.remember(alike, voters(True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.join(alike)
    assert torch.equal(found.argmax(1), voters(True).argmax(1))
