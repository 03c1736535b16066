from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.classifiers import Classifier
from eocontrast.models.fusion import STREAMS, Fusion
from eocontrast.models.model import LateModel, PooledModel, Streams, inputs_of, keep_only
from eocontrast.patches.store import PatchStore

FUSIONS: tuple[Fusion, ...] = ("s1", "s2", "early", "late")


def backbones(
    store: PatchStore, params: BackboneParams, *streams: tuple[Sensor, ...]
) -> dict[str, Backbone]:
    architecture = Architecture(params.name, params.options)
    torch.manual_seed(0)
    return {
        "_".join(sensors): Backbone(architecture, {s: store.specs[s] for s in sensors})
        for sensors in streams
    }


@pytest.fixture(params=FUSIONS)
def classifier(
    request: pytest.FixtureRequest,
    tiny_store: PatchStore,
    tiny_backbones: Mapping[str, BackboneParams],
) -> Classifier:
    streams = STREAMS[request.param]
    return Classifier(backbones(tiny_store, tiny_backbones["resnet"], *streams), 3).eval()


def test_inputs_are_those_of_all_backbones_sentinel_1_first(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    parts = backbones(tiny_store, tiny_backbones["resnet"], ("s2",), ("s1",))
    assert list(inputs_of(parts).items()) == list(tiny_store.specs.items())
    assert list(inputs_of({"s2": parts["s2"]})) == ["s2"]


def test_logits_are_the_join_of_the_streams(tiny_store: PatchStore, classifier: Classifier) -> None:
    batch = tiny_store.batch(tiny_store.rows("test"))
    streams = classifier.streams(batch)
    assert list(streams) == list(classifier.backbones)
    assert {part.shape for part in streams.values()} == {(18, 16)}
    assert classifier.num_features == 16 * len(streams)
    assert torch.equal(classifier(batch), classifier.join(streams))


def test_a_stream_sees_its_own_sensors_alone(
    tiny_store: PatchStore, classifier: Classifier
) -> None:
    batch = tiny_store.batch(tiny_store.rows("test"))
    before = classifier.streams(batch)
    for sensor in SENSORS:
        after = classifier.streams({**batch, sensor: batch[sensor].flip(0)})
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {name for name in before if sensor in name.split("_")}


def test_streams_stand_apart_where_each_sensor_has_one(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    for fusion in FUSIONS:
        parts = backbones(tiny_store, tiny_backbones["resnet"], *STREAMS[fusion])
        assert Classifier(parts, 3).apart == (fusion != "early")


def test_a_missing_sensor_is_the_stream_of_a_patch_without_data(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    """What evaluation rests on: the other stream need not be computed again."""
    classifier = Classifier(backbones(tiny_store, tiny_backbones["swin"], ("s1",), ("s2",)), 3)
    classifier.eval()
    batch = tiny_store.batch(tiny_store.rows("test"))
    empty = {s: t[:1] for s, t in keep_only(batch, classifier.inputs, ()).items()}
    absent, streams = classifier.streams(empty), classifier.streams(batch)
    for kept in SENSORS:
        parts = {s: p if s == kept else absent[s].expand_as(p) for s, p in streams.items()}
        whole = classifier(keep_only(batch, classifier.inputs, (kept,)))
        torch.testing.assert_close(classifier.join(parts), whole)
        assert not torch.allclose(whole, classifier(batch))


class Summed(PooledModel):
    """Another join."""

    def join(self, streams: Streams) -> Tensor:
        return torch.stack(list(streams.values())).sum(0)


def test_a_model_brings_its_own_join(
    tiny_store: PatchStore, tiny_backbones: Mapping[str, BackboneParams]
) -> None:
    model = Summed(backbones(tiny_store, tiny_backbones["resnet"], ("s1",), ("s2",))).eval()
    batch = tiny_store.batch(tiny_store.rows("test"))
    parts = [backbone(batch) for backbone in model.backbones.values()]
    torch.testing.assert_close(model(batch), parts[0] + parts[1])


def test_a_model_without_a_join_is_none() -> None:
    class Unfinished(LateModel):
        def streams(self, batch: object) -> Streams:
            return {}

    assert issubclass(LateModel, nn.Module)
    with pytest.raises(TypeError, match="join"):
        Unfinished()  # type: ignore[abstract]
