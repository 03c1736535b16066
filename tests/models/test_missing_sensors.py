import numpy as np
import pytest
import torch
from torch import Tensor

from eocontrast.modalities import SENSORS
from eocontrast.models.model import drawn_missing, drop_sensors, keep_only, sensor_sets
from eocontrast.patches.inputs import Batch
from eocontrast.patches.scaling import Scale
from eocontrast.patches.store import PatchStore

NODATA = {"s1": -32768, "s2": 65535}


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lost(patches: Tensor, sensor: str) -> list[bool]:
    """Which patches hold no data at all."""
    return (patches == NODATA[sensor]).flatten(1).all(1).tolist()


@pytest.fixture
def batch(tiny_store: PatchStore) -> Batch:
    return tiny_store.batch(np.arange(24))


def test_sensor_sets(tiny_store: PatchStore) -> None:
    assert sensor_sets(tiny_store.specs) == [("s1", "s2"), ("s1",), ("s2",)]
    assert sensor_sets({"s2": tiny_store.specs["s2"]}) == [("s2",)]


@pytest.mark.parametrize("sensor", SENSORS)
def test_missing_sensor_is_nodata(tiny_store: PatchStore, batch: Batch, sensor: str) -> None:
    before = {name: stored.clone() for name, stored in batch.items()}
    kept = keep_only(batch, tiny_store.specs, tuple(s for s in SENSORS if s != sensor))
    other = "s2" if sensor == "s1" else "s1"
    assert all(lost(kept[sensor], sensor))
    assert kept[sensor].dtype == batch[sensor].dtype
    assert torch.equal(kept[other], before[other])
    assert torch.equal(batch[sensor], before[sensor])
    scaled = Scale(tiny_store.specs[sensor])(kept[sensor])  # type: ignore[index]
    assert not scaled.any()


def test_keep_all_and_none(tiny_store: PatchStore, batch: Batch) -> None:
    whole = keep_only(batch, tiny_store.specs, SENSORS)
    assert all(torch.equal(whole[sensor], batch[sensor]) for sensor in SENSORS)
    nothing = keep_only(batch, tiny_store.specs, ())
    assert all(all(lost(nothing[sensor], sensor)) for sensor in SENSORS)


def test_dropout_never_drops_both(
    tiny_store: PatchStore,
) -> None:
    found = drawn_missing(4000, tiny_store.specs, 0.3, drawn())
    assert not (found["s1"] & found["s2"]).any()
    # binomial(4000, 0.15): 0.127 to 0.173 is four standard deviations
    for sensor in SENSORS:
        assert found[sensor].float().mean().item() == pytest.approx(0.15, abs=0.023)


def test_dropout_follows_generator(tiny_store: PatchStore) -> None:
    none = drawn_missing(100, tiny_store.specs, 0.0, drawn())
    assert not any(where.any() for where in none.values())
    one, two, other = (drawn_missing(100, tiny_store.specs, 0.5, drawn(k)) for k in (1, 1, 2))
    assert all(torch.equal(one[sensor], two[sensor]) for sensor in SENSORS)
    assert any(not torch.equal(one[sensor], other[sensor]) for sensor in SENSORS)


def test_dropped_patches_are_nodata(tiny_store: PatchStore, batch: Batch) -> None:
    expected = drawn_missing(24, tiny_store.specs, 0.5, drawn())
    found = drop_sensors(batch, tiny_store.specs, 0.5, drawn())
    for sensor in SENSORS:
        assert 0 < expected[sensor].sum() < 24
        assert lost(found[sensor], sensor) == expected[sensor].tolist()
        kept = ~expected[sensor]
        assert torch.equal(found[sensor][kept], batch[sensor][kept])
        assert found[sensor].dtype == batch[sensor].dtype
        assert not any(lost(batch[sensor], sensor))


def test_masks_stay(tiny_store: PatchStore, batch: Batch) -> None:
    """Masks travel in the batch beside the sensors."""
    label = torch.ones(24, 1, 16, 16, dtype=torch.uint8)
    found = drop_sensors({**batch, "label": label}, tiny_store.specs, 1.0, drawn())
    assert found["label"] is label
