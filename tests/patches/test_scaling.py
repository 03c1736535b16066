"""Scalings of published weights, against arithmetic written by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.scaling import Scale, resized

RADAR = InputSpec(SENTINEL1, (-12.0, -20.0), (5.0, 6.0), 64)
OPTICAL = InputSpec(
    Modality(("B04", "B05"), "DN", (0.0, 10000.0)), (1300.0, 1500.0), (900.0,) * 2, 64
)
STEPS = 1e-5  # float32 keeps 7 digits


def stored(*values: float, nodata: int = -32768) -> torch.Tensor:
    """One row of pixels that both bands share, with a missing one at the end."""
    dtype = torch.int16 if nodata < 0 else torch.uint16
    row = torch.tensor([*values, nodata], dtype=torch.int32).to(dtype)
    return row.expand(1, 2, 1, -1).contiguous()


def test_two_deviations_become_zero_and_one() -> None:
    found = Scale(replace(RADAR, scaling="two_sd"))(stored(-2200, -1200, -200, -4000, 1000))
    # mean - 2 sd = -22 and -32; mean + 2 sd = -2 and -8
    expected = [[0.0, 0.5, 1.0, 0.0, 1.0, 0.5], [10 / 24, 20 / 24, 1.0, 0.0, 1.0, 0.5]]
    torch.testing.assert_close(found[0, :, 0], torch.tensor(expected), rtol=STEPS, atol=STEPS)


def test_division_leaves_missing_at_mean() -> None:
    spec = replace(OPTICAL, scaling="division", clip=((0.0, 3558.0), (0.0, 8160.0)))
    found = Scale(spec)(stored(0, 1779, 9000, nodata=65535))
    expected = [[0.0, 0.5, 1.0, 1300 / 3558], [0.0, 1779 / 8160, 1.0, 1500 / 8160]]
    torch.testing.assert_close(found[0, :, 0], torch.tensor(expected), rtol=STEPS, atol=STEPS)


def test_clip_per_band() -> None:
    spec = replace(RADAR, clip=((-20.0, 0.0), (-30.0, -5.0)))
    found = Scale(spec)(stored(-3500, 500))
    expected = [[-8 / 5, 12 / 5, 0.0], [-10 / 6, 15 / 6, 0.0]]
    torch.testing.assert_close(found[0, :, 0], torch.tensor(expected), rtol=STEPS, atol=STEPS)


def test_missing_value_of_spec() -> None:
    spec = replace(RADAR, mean=(0.0, 0.0), sd=(1.0, 1.0), missing=(-12.5, -20.2))
    found = Scale(spec)(stored(-1000))
    torch.testing.assert_close(found[0, :, 0, 1], torch.tensor([-12.5, -20.2]))


def test_own_deviation_of_image() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(500, 3000, (2, 2, 8, 8)).astype(np.uint16)
    values[0, 0, :4] = 65535
    found = Scale(replace(OPTICAL, scaling="image_two_sd"))(torch.from_numpy(values))
    seen = np.where(values == 65535, np.nan, values.astype(float))
    mean, sd = (f(seen, axis=(2, 3), keepdims=True) for f in (np.nanmean, np.nanstd))
    expected = np.nan_to_num(np.clip((seen - mean + 2 * sd) / (4 * sd), 0, 1), nan=0.5)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    empty = torch.full((1, 2, 4, 4), 65535, dtype=torch.int32).to(torch.uint16)
    assert (Scale(replace(OPTICAL, scaling="image_two_sd"))(empty) == 0.5).all()


@pytest.mark.parametrize("shape", [(8, 8), (6, 12), (1, 3)])
def test_resize_keeps_proportions(shape: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *shape)
    found = resized(images, 24)
    assert max(found.shape[2:]) == 24
    assert found.shape[2] * shape[1] == pytest.approx(found.shape[3] * shape[0], rel=0.01)
    assert resized(images, 0) is images


def test_backbone_resizes_as_prepare() -> None:
    spec = replace(RADAR, scaling="two_sd", resize=32, patch_size=224)
    backbone = Backbone(
        Architecture("vit_tiny_patch16_224", {"depth": 1, "embed_dim": 12}), {"s1": spec}
    )
    backbone.eval()
    values = np.random.default_rng(0).uniform(-25, -5, (2, 2, 20, 20))
    prepared = spec.prepare(values, bands=("VV", "VH"), units="dB")
    assert prepared.shape[2:] == (32, 32)
    batch = {"s1": torch.from_numpy(spec.modality.encode(values))}
    assert torch.equal(backbone(batch), backbone.timm(prepared))


def test_spec_survives_json_and_selection() -> None:
    spec = replace(
        OPTICAL,
        scaling="division",
        clip=((0.0, 3558.0), (0.0, 8160.0)),
        missing=(0.1, 0.2),
        resize=224,
    )
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    second = spec.select(["B05"])
    assert (second.clip, second.missing) == (((0.0, 8160.0),), (0.2,))
