from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C, Sensor
from eocontrast.models.backbones import Architecture, Backbone, create_backbone
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

S1 = InputSpec(SENTINEL1, (-12.0, -18.0), (3.0, 3.0), 64)
S2 = InputSpec(SENTINEL2_L1C, (1000.0,) * 13, (500.0,) * 13, 64)
BOTH: dict[Sensor, InputSpec] = {"s1": S1, "s2": S2}


def batch(pixels: int, size: int = 2) -> dict[Sensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    s1 = torch.randint(-3000, 0, (size, 2, pixels, pixels), generator=draws)
    s2 = torch.randint(0, 10000, (size, 13, pixels, pixels), generator=draws)
    return {"s1": s1.to(torch.int16), "s2": s2.to(torch.uint16)}


@pytest.mark.parametrize("pixels", [64, 96])
@pytest.mark.parametrize(
    ("name", "num_features"), [("resnet18", 512), ("swin_tiny_patch4_window7_224", 768)]
)
def test_the_papers_backbones_take_13_bands_of_any_size(
    name: str, num_features: int, pixels: int
) -> None:
    backbone = Backbone(Architecture(name), {"s2": S2}).eval()
    assert backbone.num_features == num_features
    with torch.no_grad():
        features = backbone(batch(pixels))
    assert features.shape == (2, num_features)
    assert features.isfinite().all()
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("pixels", [32, 33])
@pytest.mark.parametrize("bands", [1, 2])
def test_channels_lie_side_by_side_in_every_map(bands: int, pixels: int) -> None:
    """The other layout is slower, and an image of one band fits both."""
    modality = replace(SENTINEL1, bands=SENTINEL1.bands[:bands])
    spec = InputSpec(modality, (-12.0,) * bands, (3.0,) * bands, 64)
    backbone = Backbone(Architecture("resnet10t"), {"s1": spec}).eval()
    stored = {"s1": batch(pixels)["s1"][:, :bands]}
    for maps in backbone.pyramid(backbone.images(stored)):
        assert maps.is_contiguous(memory_format=torch.channels_last)


def test_weights_of_one_size_serve_another(tiny_backbones: Mapping[str, BackboneParams]) -> None:
    """8 px are one token in the last stage, fewer than a window: its table must not shrink."""
    name, options = tiny_backbones["swin"].name, tiny_backbones["swin"].options
    small, large = (
        create_backbone(Architecture(name, {**options, "img_size": size}), 2).eval()
        for size in (8, 32)
    )
    large.load_state_dict(small.state_dict())
    for pixels in (8, 16, 32):
        images = torch.randn(2, 2, pixels, pixels)
        assert torch.equal(small(images), large(images))


@pytest.mark.parametrize("name", ["resnet", "swin"])
def test_sensors_are_stacked_in_the_order_of_their_specs(
    tiny_backbones: Mapping[str, BackboneParams], name: str
) -> None:
    params = tiny_backbones[name]
    backbone = Backbone(Architecture(params.name, params.options), BOTH).eval()
    seen = []
    backbone.timm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pair = batch(16)
    features = backbone(pair)
    assert features.shape == (2, backbone.num_features)
    assert seen[0].shape == (2, 15, 16, 16)
    expected = (pair["s2"].float() - 1000) / 500
    torch.testing.assert_close(seen[0][:, 2:], expected)


def test_a_sensor_that_is_not_asked_for_is_not_seen(
    tiny_backbones: Mapping[str, BackboneParams],
) -> None:
    params = tiny_backbones["resnet"]
    backbone = Backbone(Architecture(params.name, params.options), {"s1": S1}).eval()
    pair = batch(16)
    before = backbone(pair)
    pair["s2"] = torch.zeros_like(pair["s2"])
    assert torch.equal(backbone(pair), before)


@pytest.mark.parametrize("pixels", [32, 48, 50])
def test_mma_vgg_halves_its_maps_between_blocks(pixels: int) -> None:
    backbone = Backbone(Architecture("mma_vgg"), {"s2": S2}).eval()
    maps = backbone.pyramid(backbone.images(batch(pixels)))
    sides = [pixels // 2**block for block in range(4)]
    assert [tuple(m.shape) for m in maps] == [
        (2, width, side, side) for width, side in zip((64, 128, 256, 128), sides, strict=True)
    ]
    assert backbone.num_features == 128
    torch.testing.assert_close(backbone(batch(pixels)), maps[-1].mean((2, 3)))
    convolutions = [m for m in backbone.timm.modules() if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convolutions] == [(3, 3)] * 8


@pytest.mark.parametrize("name", ["mma_vgg", "resnet18"])
def test_intermediates_are_handed_out_as_timm_does(name: str) -> None:
    model: Any = create_backbone(Architecture(name), 3).eval()
    images = torch.randn(2, 3, 32, 32)
    last, maps = model.forward_intermediates(images, norm=True)
    alone = model.forward_intermediates(images, norm=True, intermediates_only=True)
    assert all(torch.equal(one, other) for one, other in zip(maps, alone, strict=True))
    assert torch.equal(last, maps[-1])


def test_an_unknown_model_suggests_close_ones() -> None:
    with pytest.raises(UserError, match=r"no model 'mma_vg'.*mma_vgg"):
        create_backbone(Architecture("mma_vg"), 2)
    with pytest.raises(UserError, match=r"no model 'resnet181'.*resnet18"):
        create_backbone(Architecture("resnet181"), 2)
    with pytest.raises(UserError, match="did you mean"):
        create_backbone(Architecture("???"), 2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"embed_dim": 32}),
        ("resnet18", {"in_chans": 3}),
        ("resnet10t", {"channels": "wide"}),
        ("resnet10t", {"channels": [-24, 24, 48, 96]}),
        ("resnet18", {"norm_layer": "none"}),
        ("swin_tiny_patch4_window7_224", {"num_heads": 0}),
        ("swin_tiny_patch4_window7_224", {"depths": 3}),
        ("mma_vgg", {"depths": 3}),
        ("mma_vgg", {"channels": []}),
        ("mma_vgg", {"channels": [8, 0]}),
    ],
)
def test_options_that_do_not_fit_are_named(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        create_backbone(Architecture(name, options), 2)
    assert name in str(caught.value)
    assert str(options) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_architecture_is_what_json_says_of_it() -> None:
    architecture = Architecture("resnet10t", {"channels": [8, 8, 16, 16]})
    assert Architecture(**architecture.to_dict()) == architecture


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "ghostnet_050", "lcnet_035", "vgg11"])
def test_width_is_that_of_features(name: str) -> None:
    backbone = Backbone(Architecture(name), {"s2": S2}).eval()
    assert backbone(batch(64)).shape == (2, backbone.num_features)


@pytest.mark.parametrize("name", ["levit_128s", "pit_ti_224", "mixer_s32_224"])
def test_fixed_size_is_that_of_patches(name: str) -> None:
    backbone = Backbone(Architecture(name), {"s2": S2}).eval()
    assert backbone(batch(S2.patch_size)).shape == (2, backbone.num_features)


def test_impossible_size_is_refused() -> None:
    name = "halonet26t"
    with pytest.raises(UserError, match=rf"{name} does not take images of \d+ x \d+ pixels: "):
        Backbone(Architecture(name), {"s2": S2})


def test_probing_draws_no_numbers() -> None:
    torch.manual_seed(0)
    create_backbone(Architecture("resnet10t"), 13)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Backbone(Architecture("resnet10t"), {"s2": S2})
    assert torch.rand(1) == expected
