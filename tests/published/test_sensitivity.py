"""Features change by a known amount when bands, order, offset or scale are wrong."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from eocontrast.modalities import Scaling
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.inputs import InputSpec
from eocontrast.published.inputs import expected_input

SMALL = Architecture("resnet10t", {"channels": [8, 8, 16, 16]})


def values(spec: InputSpec) -> np.ndarray:
    """Four smooth patches whose bands have the statistics of SSL4EO-S12."""
    known = expected_input("ssl4eo_2sd_s1" if spec.modality.units == "dB" else "ssl4eo_10k")
    known = known.select(spec.modality.bands)
    rng, bands = np.random.default_rng(0), len(known.modality.bands)
    noise = np.kron(rng.normal(size=(4, bands, 8, 8)), np.ones((4, 4)))
    scene = 0.7 * noise[:, :1] + 0.7 * noise  # bands of one place resemble each other
    mean, sd = (np.array(v)[:, None, None] for v in (known.mean, known.sd))
    made: np.ndarray = mean + sd * scene
    return made if spec.modality.units == "dB" else made.clip(1, 12000)


@cache
def network(bands: int) -> torch.nn.Module:
    torch.manual_seed(0)
    spec = expected_input("ssl4eo_2sd_s1") if bands == 2 else expected_input("ssl4eo_10k")
    spec = replace(spec.select(spec.modality.bands[:bands]), patch_size=32)
    return Backbone(SMALL, {"s1" if bands == 2 else "s2": spec}).eval()


@torch.no_grad()
def features(spec: InputSpec, images: np.ndarray) -> Tensor:
    """Features of one network, whatever its weights: the input is what differs."""
    backbone = network(len(spec.modality.bands))
    prepared = replace(spec, resize=0).prepare(
        images, bands=spec.modality.bands, units=spec.modality.units, check_scale=False
    )
    found: Tensor = backbone.timm(prepared)  # type: ignore[operator]
    return found


def change(spec: InputSpec, images: np.ndarray, other: InputSpec, wrong: np.ndarray) -> float:
    """Change of the features, as a share of their spread between patches."""
    right, seen = features(spec, images), features(other, wrong)
    return float((seen - right).norm() / (right - right.mean(0)).norm())


CHANGES = {
    # bands in reverse, one band missing, 1000 DN or 3 dB added, another scaling
    "ssl4eo_2sd_s1": (0.91, 1.17, 2.36, 16.32),
    "ssl4eo_2sd_s2": (3.22, 0.7, 4.42, 28.61),
    "ssl4eo_10k": (2.84, 0.44, 3.15, 58.97),
    "ssl4eo_10k_rgb": (2.12, 2.08, 9.27, 52.47),
    "closp_s1": (0.76, 2.61, 0.97, 8.53),
    "satlas": (1.78, 3.0, 1.34, 48.1),
    "imagenet": (1.99, 3.42, 7.21, 6.27),
}


def changes(key: str) -> tuple[float, ...]:
    spec = expected_input(key)
    images = values(spec)
    lost, z_scored = images.copy(), "band_statistics"
    lost[:, 0] = np.nan
    offset = 3.0 if spec.modality.units == "dB" else 1000.0
    other: Scaling = "two_sd" if spec.scaling == z_scored else "band_statistics"
    return (
        change(spec, images, spec, images[:, ::-1].copy()),
        change(spec, images, spec, lost),
        change(spec, images, spec, images + offset),
        change(spec, images, replace(spec, scaling=other, clip=()), images),
    )


@pytest.mark.parametrize("key", CHANGES)
def test_wrong_input_changes_features(key: str) -> None:
    for found, expected in zip(changes(key), CHANGES[key], strict=True):
        # other processors round otherwise; a wrong input differs by far more
        assert found == pytest.approx(expected, rel=0.1, abs=0.02)
        assert found > 0.05
