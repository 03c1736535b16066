"""Every entry of the catalogue on a checkpoint with its names and shapes, against plain timm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from checkpoints import S1, S2, drawn, images, imported, prepared, shrunken, wraps
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.published.catalogue import Entry, catalogue, entry

ENTRIES = catalogue()
RGB = [3, 2, 1]
ORDER = {
    "ssl4eo_10k_rgb": RGB, "seco": RGB, "imagenet": RGB, "imagenet_half": RGB, "dinov3_sat": RGB,
    "satlas": [3, 2, 1, 4, 5, 6, 7, 11, 12], "seco_eco": [*range(10), 11, 12],
}  # fmt: skip


PICTURES = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "imagenet_half": ((0.5,) * 3, (0.5,) * 3),
    "dinov3_sat": ((0.430, 0.411, 0.296), (0.213, 0.156, 0.143)),
}


def by_hand(inputs: str, values: NDArray[np.float64]) -> Any:  # noqa: ANN401
    """Input arithmetic as the publications describe it."""
    base, mean, sd = inputs.removesuffix("_224"), *(S1 if values.shape[1] == 2 else S2)
    x = values[:, ORDER.get(base, slice(None))]
    middle, spread = mean[:, None, None], sd[:, None, None]
    if "2sd" in base:
        return ((x - (middle - 2 * spread)) / (4 * spread)).clip(0, 1)
    if base == "closp_s1":
        return x.clip(-40, 10)
    if base == "satlas":
        top = np.array([3558.0] * 3 + [8160.0] * 6)[:, None, None]
        return (x / top).clip(0, 1)
    if base in PICTURES:
        m, s = (np.array(v)[:, None, None] for v in PICTURES[base])
        scaled: NDArray[np.float64] = ((x / 3558).clip(0, 1) - m) / s
        return scaled
    if base == "seco":
        low, high = np.array([0, 2, 3.0])[:, None, None], np.array([129, 103, 88.0])[:, None, None]
        byte = (x * 255 / 10000).clip(low, high)
        unit = (byte - low) / (high - low)
        m, s = (np.array(v)[:, None, None] for v in PICTURES["imagenet"])
        seen: NDArray[np.float64] = (unit - m) / s
        return seen
    return (x / 10000).clip(0, 1)


def plain(each: Entry, state: dict[str, Tensor], x: NDArray[np.float64], options: Any) -> Tensor:  # noqa: ANN401
    """Features of timm's own model with the same tensors."""
    more = {**each.options, **options}
    if more.pop("dynamic_img_pad", False) or "vit" in each.model:
        more["dynamic_img_size"] = True
    model = timm.create_model(each.model, num_classes=0, in_chans=x.shape[1], **more)
    model.load_state_dict(state)
    tensor = torch.from_numpy(x).float()
    if each.inputs.endswith("_224"):
        tensor = F.interpolate(tensor, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        features: Tensor = model.eval()(tensor)
    return features


FAST = ("rn18_s2_moco", "rn18_s2_rgb_seco", "vits16_s1_mae", "vits16_s2_moco", "vits14_s1_softcon")
"""Entries that stand for the others in every run of the tests: layouts, sensors, architectures."""

TIMM = [name for name, each in ENTRIES.items() if ":" not in each.model]
NAMES = [name if name in FAST else pytest.param(name, marks=pytest.mark.long) for name in TIMM]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_features_equal_plain_timm(name: str, tmp_path: Path) -> None:
    each = entry(name)
    options = shrunken(each)
    state, other = drawn(each, options), drawn(each, options, seed=1)
    values = images(each.sensor)
    expected = plain(each, state, by_hand(each.inputs, values), options)
    scale = float(expected.abs().max())
    for wrap in wraps(each):
        backbone = imported(each, wrap(state, other), tmp_path, options)
        found = backbone(prepared(backbone, each.sensor, values))
        torch.testing.assert_close(found / scale, expected / scale, rtol=1e-5, atol=1e-5)
