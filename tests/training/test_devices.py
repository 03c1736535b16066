"""One precision a process, on the best device; bfloat16 is emulated where it is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.evaluation.prediction import load_model, predict
from eocontrast.patches.store import PatchStore
from eocontrast.tracking.served import Served
from eocontrast.training.devices import accelerator, device

WriteModel = Callable[..., Path]


def test_device_of_every_precision() -> None:
    before = device()
    assert accelerator("bf16").device == before == device()


def test_auto_without_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("eocontrast.training.devices._has_bf16", lambda: False)
    assert accelerator("auto").mixed_precision == "no"


def test_auto_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eocontrast.training.devices._has_bf16", lambda: True)
    assert accelerator("auto").mixed_precision == "bf16"


@pytest.mark.parametrize("task", ["single_label", "segmentation"])
def test_float32_after_bfloat16(
    mixed_store: PatchStore, write_model: WriteModel, task: str
) -> None:
    heads = {"single_label": ("linear", "late"), "segmentation": ("swin_unet", "late")}
    head, fusion = heads[task]
    file = write_model(mixed_store, head=head, fusion=fusion, task=task)
    rows = mixed_store.labelled("test")
    model, spec = load_model(file, mixed_store)
    said = predict(model, spec.learning, mixed_store, rows, accelerator("bf16"))
    images: dict[str, NDArray[np.float32]] = {
        s: mixed_store.specs[s].modality.decode(mixed_store.read(s, rows)) for s in model.inputs
    }
    served = Served(file).predict(images)
    rough = next(iter(said.values())).numpy()
    np.testing.assert_allclose(served, rough, atol=0.05)  # bfloat16 has three digits
    assert not np.array_equal(served, rough)
