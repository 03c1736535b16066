"""Served models say what the pipeline says, of the same patches in physical units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eocontrast.evaluation.prediction import load_model, predict
from eocontrast.modalities import Modality
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.tracking.served import Served, _load_pyfunc
from eocontrast.training.devices import accelerator

WriteModel = Callable[..., Path]

HEADS = [
    {"head": "linear", "fusion": "late"},
    {"head": "linear", "fusion": "s2"},
    {"head": "linear", "fusion": "early"},
    {"head": "linear", "fusion": "late", "task": "multi_label"},
    {"head": "knn", "fusion": "late"},
    {"head": "unet", "fusion": "early", "task": "segmentation"},
    {"head": "swin_unet", "fusion": "late", "task": "segmentation"},
]


def physical(store: PatchStore, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    """Patches in dB and DN, NaN where there is no data."""
    return {s: store.specs[s].modality.decode(store.read(s, rows)) for s in store.specs}


def said(file: Path, store: PatchStore, rows: NDArray[np.int64]) -> dict[Any, torch.Tensor]:
    """What the pipeline says, by the sensors that had an image."""
    model, spec = load_model(file, store)
    return predict(model, spec.learning, store, rows, accelerator("no"))


@pytest.mark.parametrize("fields", HEADS, ids=lambda f: " ".join(f.values()))
def test_served_model_equals_pipeline(
    mixed_store: PatchStore, write_model: WriteModel, fields: dict[str, str]
) -> None:
    file, rows = write_model(mixed_store, **fields), mixed_store.labelled("test")
    found = Served(file).predict(physical(mixed_store, rows))
    expected = next(iter(said(file, mixed_store, rows).values())).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.std(axis=0).max() > 0.01  # patches differ


def test_sensor_without_data(mixed_store: PatchStore, write_model: WriteModel) -> None:
    file, rows = write_model(mixed_store), mixed_store.labelled("test")
    expected = said(file, mixed_store, rows)
    images = physical(mixed_store, rows)
    alone = Served(file).predict({**images, "s1": np.full_like(images["s1"], np.nan)})
    np.testing.assert_allclose(alone, expected["s2",].numpy(), atol=1e-6)
    assert not np.allclose(alone, expected["s1", "s2"].numpy(), atol=1e-3)


def test_example_equals_patch(mixed_store: PatchStore, write_model: WriteModel) -> None:
    file = write_model(mixed_store)
    images, said = Served(file).example(mixed_store)
    first = mixed_store.labelled("train")[:1]
    assert {sensor: values.dtype for sensor, values in images.items()} == {
        "s1": np.float32,
        "s2": np.float32,
    }
    for sensor, spec in mixed_store.specs.items():
        again = spec.modality.encode(images[sensor])
        np.testing.assert_array_equal(again, mixed_store.read(sensor, first))
    np.testing.assert_allclose(Served(file).predict(images), said, atol=1e-6)


def test_linear_power(mixed_store: PatchStore, write_model: WriteModel) -> None:
    """The store keeps it in dB, and whoever calls has what the files hold."""
    inputs, power = dict(mixed_store.specs), mixed_store.specs["s1"]
    inputs["s1"] = replace(power, modality=replace(power.modality, units="linear"))
    served = Served(write_model(mixed_store, inputs=inputs))
    images, _ = served.example(mixed_store)
    assert (images["s1"] > 0).all()
    linear = Modality(("VV", "VH"), "linear", (-40.0, 10.0))
    first = mixed_store.labelled("train")[:1]
    np.testing.assert_array_equal(linear.encode(images["s1"]), mixed_store.read("s1", first))
    assert served.predict(images).shape == (1, 3)


def test_wrong_units_refused(mixed_store: PatchStore, write_model: WriteModel) -> None:
    images = physical(mixed_store, mixed_store.labelled("test"))
    reflectance: dict[str, NDArray[Any]] = {**images, "s2": images["s2"] / 10000}
    with pytest.raises(UserError, match=r"^s2: values in DN .* looks like reflectance"):
        Served(write_model(mixed_store)).predict(reflectance)


def test_mlflow_loader_name(mixed_store: PatchStore, write_model: WriteModel) -> None:
    assert isinstance(_load_pyfunc(str(write_model(mixed_store))), Served)
