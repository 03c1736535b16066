"""Features of published weights, against those of torchgeo's classes on the same files.

Runs where torchgeo is installed, which needs Python 3.12: `pip install torchgeo`, then
`pytest -m long tests/published/test_torchgeo.py`.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import BANDS, drawn, images, imported, prepared, shrunken

from eocontrast.published.catalogue import catalogue

models = pytest.importorskip("torchgeo.models")
pytestmark = pytest.mark.long

ENTRIES = catalogue()
DIVIDED = ("ssl4eo_10k", "ssl4eo_10k_rgb")
"""Inputs that torchgeo's transforms scale as the publications do, as docs/weights.md says."""


def builders() -> dict[str, tuple[str, Any]]:
    """Name of a model and its weights, by the name of their file."""
    found = {}
    for model in models.list_models():
        with suppress(KeyError):  # a model without weights
            for weights in models.get_model_weights(model):
                found[weights.url.rpartition("/")[2]] = model, weights
    return found


FILES = builders()
KNOWN = [
    name
    for name, each in ENTRIES.items()
    if ":" not in each.model and each.address.rpartition("/")[2] in FILES
]


def test_most_entries_have_a_class_of_torchgeo() -> None:
    assert len(KNOWN) >= 20


@pytest.mark.parametrize("name", KNOWN)
@torch.no_grad()
def test_features_equal_torchgeo(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = ENTRIES[name]
    model, weights = FILES[each.address.rpartition("/")[2]]
    options = shrunken(each)
    state = drawn(each, options)
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: dict(state))
    sizes = {"dynamic_img_size": True} if "vit" in each.model else {}
    theirs = models.get_model(
        model, weights=weights, num_classes=0, **{**each.options, **options, **sizes}
    ).eval()
    backbone = imported(each, dict(state), tmp_path, options)
    values = images(each.sensor)
    ours = prepared(backbone, each.sensor, values)
    expected = theirs(ours)
    scale = float(expected.abs().max())
    torch.testing.assert_close(backbone(ours) / scale, expected / scale, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in KNOWN if ENTRIES[n].inputs in DIVIDED])
def test_inputs_equal_those_of_torchgeo(name: str, tmp_path: Path) -> None:
    each = ENTRIES[name]
    _, weights = FILES[each.address.rpartition("/")[2]]
    backbone = imported(each, drawn(each, shrunken(each)), tmp_path, shrunken(each))
    # constant images, since torchgeo resizes and crops as well
    values = images(each.sensor)[..., :1, :1] + np.zeros((1, 1, 256, 256))
    ours = prepared(backbone, each.sensor, values)[..., 0, 0]
    chosen = [BANDS.index(band) for band in backbone.input_spec.modality.bands]
    theirs = weights.transforms(torch.from_numpy(values[:, chosen]).float())[..., 0, 0]
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
