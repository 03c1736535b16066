"""Foundation models against torchgeo's classes, called by hand on input arithmetic by hand.

Runs where torchgeo is installed: `pip install 'eocontrast[foundation]'`, then
`pytest -m long tests/published/test_torchgeo_foundation.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checkpoints import State, filled, images, imported, prepared
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.published.catalogue import catalogue

models = pytest.importorskip("torchgeo.models")
pytestmark = pytest.mark.long

NAMES = [name for name, each in catalogue().items() if each.model.startswith("torchgeo:")]
MODALITY = {"s1": "sar", "s2": "optical"}


def column(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values)[:, None, None]


def dofa(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """dB as z-scores, or SatlasPretrain's 8 bits of true colour and six bands."""
    if x.shape[1] == 2:
        return (x - column([-12.548, -20.192])) / column([5.257, 5.912])
    byte = x[:, [3, 2, 1, 4, 5, 6, 7, 11, 12]] / column([3558 / 255] * 3 + [32.0] * 6)
    mean = [114.1099739, 114.81779093, 126.63977424, 84.33539309, 97.84789168, 103.94461911,
            101.435633, 72.32804172, 56.66528851]  # fmt: skip
    sd = [77.84352553, 69.96844919, 67.42465279, 64.57022983, 61.72545487, 61.34187099,
          60.29744676, 47.88519516, 42.55886798]  # fmt: skip
    scaled: NDArray[np.float64] = (byte.clip(0, 255) - column(mean)) / column(sd)
    return scaled


def copernicusfm(x: NDArray[np.float64]) -> NDArray[np.float64]:
    if x.shape[1] == 2:
        return (x - column([-12.59, -20.26])) / column([5.26, 5.91])
    mean = [1612.9, 1397.6, 1322.3, 1373.1, 1561.0, 2108.4, 2390.7, 2318.7, 2581.0, 837.7, 22.0,
            2195.2, 1537.4]  # fmt: skip
    sd = [791.0, 854.3, 878.7, 1144.9, 1127.5, 1164.2, 1276.0, 1249.5, 1345.9, 577.5, 47.5, 1340.0,
          1142.9]  # fmt: skip
    scaled: NDArray[np.float64] = (x.clip(0, 10000) - column(mean)) / column(sd)
    return scaled


def croma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each band of each image from its mean - 2 sd to its mean + 2 sd; no cirrus band."""
    x = x if x.shape[1] == 2 else x[:, [*range(10), 11, 12]].clip(0, 10000)
    middle, spread = x.mean((2, 3), keepdims=True), x.std((2, 3), keepdims=True)
    scaled: NDArray[np.float64] = ((x - middle + 2 * spread) / (4 * spread)).clip(0, 1)
    return scaled


BY_HAND = {"dofa": dofa, "copernicusfm": copernicusfm, "croma": croma}
NINE = [0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19]
THIRTEEN = [440, 490, 560, 665, 705, 740, 783, 842, 860, 940, 1370, 1610, 2190]
WIDTHS = [20, 65, 35, 30, 15, 15, 20, 115, 20, 20, 30, 90, 180]


@lru_cache(maxsize=1)  # a large model and its tensors take 3 GB
def network(family: str, size: str, sensor: str) -> tuple[Any, State]:
    """torchgeo's model and its tensors, as far as they are published."""
    if family == "croma":
        net = getattr(models, f"croma_{size}")(modalities=[MODALITY[sensor]])
    elif family == "dofa":
        net = getattr(models, f"dofa_{size}_patch16_224")(num_classes=0)
    else:
        net = models.copernicusfm_base(num_classes=0)
    shapes = {n: t for n, t in net.state_dict().items() if "fc_norm" not in n and n != "attn_bias"}
    state = filled(shapes)
    assert {*net.load_state_dict(state, strict=False).missing_keys} <= {
        "fc_norm.weight",
        "fc_norm.bias",
        "attn_bias",
    }
    return net.eval(), state


def features(family: str, size: str, sensor: str, x: Tensor, stretch: float = 1) -> Tensor:
    """Features by torchgeo's class; `stretch` multiplies the wavelengths."""
    net, _ = network(family, size, sensor)
    if family == "croma":
        found: Tensor = net(**{f"x_{MODALITY[sensor]}": x})[f"{MODALITY[sensor]}_GAP"]
    elif family == "dofa":
        found = net(x, [stretch * wave for wave in ([3.75, 3.75] if sensor == "s1" else NINE)])
    else:
        waves, widths = ([5e7] * 2, [1e9] * 2) if sensor == "s1" else (THIRTEEN, WIDTHS)
        unknown = torch.full((len(x), 4), float("nan"))
        longer = [stretch * wave for wave in waves]
        found = net(x, unknown, wavelengths=longer, bandwidths=widths)
    return found


def scaled(family: str, values: NDArray[np.float64]) -> Tensor:
    x = torch.from_numpy(BY_HAND[family](values)).float()
    side = 120 if family == "croma" else 224
    return F.interpolate(x, (side, side), mode="bilinear", antialias=True)


def saved(family: str, state: State) -> dict[str, Any]:
    """The file as it is published: CROMA's is a dictionary per part."""
    if family != "croma":
        return dict(state)
    parts: dict[str, Any] = {"joint_encoder": {"norm_out.bias": torch.zeros(768)}}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_features_equal_torchgeo(name: str, tmp_path: Path) -> None:
    family, sensor, size = name.split("_")
    _, state = network(family, size, sensor)
    backbone = imported(catalogue()[name], saved(family, state), tmp_path, {})
    values = images(sensor)
    expected = features(family, size, sensor, scaled(family, values))
    scale = float(expected.abs().max())
    found = backbone(prepared(backbone, sensor, values))
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-5, atol=1e-5)


CHANGES = {
    # bands in reverse, 1000 DN or 3 dB added, values halved after scaling, wavelengths of DOFA v2
    # (5.405 for 3.75). DOFA and Copernicus-FM cannot tell bands of one wavelength apart; CROMA
    # has no wavelengths, and the image's own mean takes an offset off
    "dofa_s1_base": (0.0, 3.589, 1.477, 4.209),
    "dofa_s2_base": (2.618, 7.405, 1.505, 4.215),
    "croma_s1_base": (2.041, 0.0, 7.99, 0.0),
    "croma_s2_base": (2.358, 0.0, 6.103, 0.0),
    "copernicusfm_s1_base": (0.0, 6.745, 2.789, 6.745),
    "copernicusfm_s2_base": (1.559, 6.448, 2.011, 1.828),
}


@pytest.mark.parametrize("name", CHANGES)
@torch.no_grad()
def test_wrong_input_changes_features(name: str) -> None:
    family, sensor, size = name.split("_")
    values = images(sensor)
    x = scaled(family, values)
    right = features(family, size, sensor, x)
    offset = 3.0 if sensor == "s1" else 1000.0
    wrong = (
        features(family, size, sensor, x.flip(1)),
        features(family, size, sensor, scaled(family, values + offset)),
        features(family, size, sensor, x / 2),
        features(family, size, sensor, x, stretch=5.405 / 3.75),
    )
    spread = (right - right.mean(0)).norm()
    changes = [float((each - right).norm() / spread) for each in wrong]
    # other processors round otherwise; a wrong input differs by far more
    assert changes == pytest.approx(CHANGES[name], rel=0.1, abs=0.02)
