"""U-Net, UPerNet and a linear layer per pixel on any backbone."""

from dataclasses import replace
from typing import Literal, NamedTuple

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.decoders import DECODERS, AveragePool, unet_widths
from eocontrast.models.fusion import STREAMS, Fusion
from eocontrast.models.levels import levels_of
from eocontrast.models.segmenters import EncoderDecoder
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.runtime.errors import UserError

SPECS: dict[Sensor, InputSpec] = {
    "s1": InputSpec(SENTINEL1, (-12.0, -18.0), (3.0, 3.0), 64),
    "s2": InputSpec(SENTINEL2_L1C, (1000.0,) * 13, (500.0,) * 13, 64),
}
RESNET = Architecture("resnet10t", {"channels": [8, 8, 16, 16], "stem_width": 8})
SWIN = Architecture(
    "swin_tiny_patch4_window7_224",
    {
        "window_size": 4,
        "embed_dim": 8,
        "depths": [1, 1, 1],
        "num_heads": [1, 2, 4],
        "drop_path_rate": 0.0,
    },
)
VIT = Architecture("vit_tiny_patch16_224", {"depth": 5, "embed_dim": 12})
VGG = Architecture("mma_vgg", {"channels": [4, 8, 8, 8]})
CONVNEXT = Architecture("convnext_atto", {"dims": [4, 8, 8, 16], "depths": [1, 1, 1, 1]})


class Kind(NamedTuple):
    """A head on a backbone, and how the sensors are joined."""

    head: Literal["unet", "upernet", "linear"]
    backbone: Architecture
    fusion: Fusion


ON = {
    "unet": (RESNET, SWIN, VGG, CONVNEXT),
    "upernet": (RESNET, SWIN, VIT),
    "linear": (RESNET, VIT),
}
KINDS = [
    *(Kind(head, one, "late") for head, several in ON.items() for one in several),  # type: ignore[arg-type]
    *(Kind("unet", RESNET, fusion) for fusion in ("s1", "s2", "early", "scales")),
    *(Kind("upernet", VIT, fusion) for fusion in ("s1", "s2", "early", "scales")),
    *(Kind("linear", RESNET, fusion) for fusion in ("s1", "s2", "early")),
]


def label(kind: Kind) -> str:
    return f"{kind.head}-{kind.backbone.name.split('_')[0]}-{kind.fusion}"


every_kind = pytest.mark.parametrize("kind", KINDS, ids=label)


def build(kind: Kind, num_classes: int = 3, **resize: int) -> EncoderDecoder:
    torch.manual_seed(0)
    specs = {s: replace(spec, resize=resize.get(s, 0)) for s, spec in SPECS.items()}
    backbones = {
        "_".join(sensors): Backbone(kind.backbone, {sensor: specs[sensor] for sensor in sensors})
        for sensors in STREAMS[kind.fusion]
    }
    scales = kind.fusion == "scales"
    return EncoderDecoder(backbones, num_classes, DECODERS[kind.head], fuse_scales=scales)


def patches(height: int, width: int, size: int = 2) -> Batch:
    draws = torch.Generator().manual_seed(0)
    s1 = torch.randint(-3000, -1, (size, 2, height, width), generator=draws)
    s2 = torch.randint(1, 10000, (size, 13, height, width), generator=draws)
    return {"s1": s1.to(torch.int16), "s2": s2.to(torch.uint16)}


@torch.no_grad()
def predict(model: nn.Module, batch: Batch) -> Tensor:
    logits: Tensor = model.eval()(batch)
    return logits


@pytest.mark.parametrize(
    ("height", "width"), [(48, 48), (64, 64), (120, 120), (224, 224), (256, 256), (50, 61), (5, 3)]
)
@every_kind
def test_sizes(kind: Kind, height: int, width: int) -> None:
    logits = predict(build(kind), patches(height, width))
    assert logits.shape == (2, 3, height, width)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@every_kind
def test_every_parameter_learns(kind: Kind) -> None:
    model = build(kind)
    batch, truth = patches(64, 64), torch.randint(3, (2, 64, 64))
    # ResNet ends its residual branches with a scale of zero: the first step opens them
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(batch), truth))
        optimizer.step()
    # a ConvNeXt normalises pooled features alone
    gradients = {n: p.grad for n, p in model.named_parameters() if ".timm.head." not in n}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all()] == []
    assert [n for n, g in gradients.items() if g is not None and not g.any()] == []


@pytest.mark.parametrize("missing", [("s1",), ("s2",), SENSORS])
@every_kind
def test_missing_sensor(kind: Kind, missing: tuple[Sensor, ...]) -> None:
    model, batch = build(kind), patches(48, 48)
    before = predict(model, batch)
    for sensor in missing:
        nodata = SPECS[sensor].modality.storage.nodata
        batch[sensor] = torch.full_like(batch[sensor], nodata)
    logits = predict(model, batch)
    assert logits.isfinite().all()
    assert torch.equal(logits, before) == (not {*missing} & {*model.inputs})


def test_fusions_apart() -> None:
    apart = {kind.fusion: build(kind).apart for kind in KINDS if kind.backbone is RESNET}
    assert apart == {"late": True, "s1": True, "s2": True, "early": False, "scales": False}


def test_late_streams_add_up() -> None:
    """Each stream is that sensor's model alone."""
    model, batch = build(Kind("unet", RESNET, "late")).eval(), patches(50, 61)
    with torch.no_grad():
        streams = model.streams(batch)
    assert {name: part.shape for name, part in streams.items()} == dict.fromkeys(
        ("s1", "s2"), (2, 3, 50, 61)
    )
    torch.testing.assert_close(predict(model, batch), streams["s1"] + streams["s2"])
    s1 = build(Kind("unet", RESNET, "s1"))
    s1.load_state_dict({n: t for n, t in model.state_dict().items() if ".s2." not in n})
    assert torch.equal(predict(s1, batch), streams["s1"])


@pytest.mark.parametrize(
    ("maps", "channels", "expected"),
    [
        (5, 512, [256, 128, 64, 32, 16]),  # a ResNet-34 has smp's own
        (5, 2048, [256, 128, 64, 32, 16]),
        (5, 192, [96, 48, 24, 16, 16]),
        (6, 512, [256, 256, 128, 64, 32, 16]),
        (5, 8, [16, 16, 16, 16, 16]),
    ],
)
def test_decoder_of_a_unet_is_as_narrow_as_its_backbone(
    maps: int, channels: int, expected: list[int]
) -> None:
    assert unet_widths(maps, channels) == expected


@pytest.mark.parametrize("multiple", [(64, 64), (96, 32)])
def test_unet_equals_smp(multiple: tuple[int, int]) -> None:
    """The same tensors in segmentation-models-pytorch's U-Net give the same logits."""
    model = build(Kind("unet", RESNET, "early"))
    plain = smp.Unet(
        "tu-resnet10t",
        encoder_weights=None,
        in_channels=15,
        classes=3,
        decoder_channels=unet_widths(5, 16),
        **RESNET.options,
    )
    backbone, decoder = model.backbones["s1_s2"], model.decoders["s1_s2"]
    assert isinstance(backbone, Backbone)
    plain.encoder.model.load_state_dict(backbone.timm.state_dict())
    plain.decoder.load_state_dict(decoder.decoder.state_dict())  # type: ignore[union-attr]
    plain.segmentation_head[0].load_state_dict(decoder.head.state_dict())  # type: ignore[union-attr]
    batch = patches(*multiple)
    expected = plain.eval()(backbone.images(batch))
    torch.testing.assert_close(predict(model, batch), expected.detach(), rtol=1e-4, atol=1e-4)


def test_upernet_equals_smp() -> None:
    model = build(Kind("upernet", RESNET, "s2"))
    plain = smp.UPerNet(
        "tu-resnet10t",
        encoder_weights=None,
        in_channels=13,
        classes=3,
        decoder_channels=16,
        **RESNET.options,
    ).eval()
    backbone, decoder = model.backbones["s2"], model.decoders["s2"]
    assert isinstance(backbone, Backbone)
    plain.encoder.model.load_state_dict(backbone.timm.state_dict())
    plain.decoder.load_state_dict(decoder.decoder.state_dict())  # type: ignore[union-attr]
    batch = patches(128, 64)
    with torch.no_grad():
        maps = plain.decoder(plain.encoder(backbone.images(batch)))
        quarter = F.conv2d(maps, decoder.head.weight, decoder.head.bias)  # type: ignore[union-attr, arg-type]
        expected = F.interpolate(quarter, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(predict(model, batch), expected, rtol=1e-4, atol=1e-4)


def test_linear_is_layer_per_pixel() -> None:
    """One layer on all maps, brought to one size and joined, gives the same logits."""
    model, batch = build(Kind("linear", RESNET, "s2")).train(), patches(64, 64)
    for _ in range(3):  # statistics that are not zero and one
        model(batch)
    model.eval()
    backbone, decoder = model.backbones["s2"], model.decoders["s2"]
    assert isinstance(backbone, Backbone)
    with torch.no_grad():
        maps = backbone.pyramid(backbone.images(batch))
        joined = torch.cat([F.interpolate(m, (32, 32), mode="bilinear") for m in maps], dim=1)
        norms = [layer for layer in decoder.modules() if isinstance(layer, nn.BatchNorm2d)]
        layers = [layer for layer in decoder.modules() if isinstance(layer, nn.Conv2d)]
        mean = torch.cat([norm.running_mean for norm in norms if norm.running_mean is not None])
        var = torch.cat([norm.running_var for norm in norms if norm.running_var is not None])
        weight = torch.cat([layer.weight[:, :, 0, 0] for layer in layers], dim=1)
        bias = torch.stack([layer.bias for layer in layers if layer.bias is not None]).sum(0)
        pixels_BhwC = joined.permute(0, 2, 3, 1)
        logits_BhwC = ((pixels_BhwC - mean) / (var + 1e-5).sqrt()) @ weight.T + bias
    expected = F.interpolate(logits_BhwC.permute(0, 3, 1, 2), (64, 64), mode="bilinear")
    torch.testing.assert_close(predict(model, batch), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("side", [1, 2, 3, 6])
@pytest.mark.parametrize("cells", [(1, 1), (2, 5), (7, 12), (16, 16)])
def test_average_pool_equals_torch(side: int, cells: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *cells, generator=torch.Generator().manual_seed(0))
    expected = nn.AdaptiveAvgPool2d(side)(maps)
    torch.testing.assert_close(AveragePool(side)(maps), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.fusion == "late"], ids=label)
def test_resize_is_honoured(kind: Kind) -> None:
    """A model of 64 px sees an enlarged patch, and its logits shrink back to the pixels."""
    plain, resizing = build(kind).eval(), build(kind, s1=64, s2=64)
    sides: list[torch.Size] = []
    for backbone in resizing.backbones.values():
        assert isinstance(backbone, Backbone)
        backbone.images.register_forward_hook(lambda *of: sides.append(of[-1].shape[-2:]))
    batch = patches(32, 32)
    found = predict(resizing, batch)
    assert found.shape == (2, 3, 32, 32)
    assert sides == [(32, 32), (32, 32)]
    with torch.no_grad():
        expected = sum(
            F.interpolate(
                predict_image(plain, name, F.interpolate(images, (64, 64), mode="bilinear")),
                (32, 32),
                mode="bilinear",
            )
            for name, images in images_of(plain, batch).items()
        )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def images_of(model: EncoderDecoder, batch: Batch) -> dict[str, Tensor]:
    return {n: b.images(batch) for n, b in model.backbones.items()}  # type: ignore[operator]


def predict_image(model: EncoderDecoder, name: str, image: Tensor) -> Tensor:
    """Logits of one stream at the pixels of a scaled image whose sides need no padding."""
    maps = model.backbones[name].pyramid(image)  # type: ignore[operator]
    logits = model.decoders[name]([maps[k] for k in model.levels[name].positions])
    if logits.shape[-2:] == image.shape[-2:]:
        return logits  # type: ignore[no-any-return]
    return F.interpolate(logits, image.shape[-2:], mode="bilinear")


def test_sensors_of_different_sizes() -> None:
    kind = Kind("unet", RESNET, "late")
    assert predict(build(kind, s1=96), patches(50, 61)).shape == (2, 3, 50, 61)
    with pytest.raises(UserError, match=r"different sizes.*'s1': 96, 's2': 0.*fusion late"):
        build(kind._replace(fusion="scales"), s1=96)


@pytest.mark.parametrize(
    ("architecture", "positions", "strides"),
    [
        (RESNET, (0, 1, 2, 3, 4), (2, 4, 8, 16, 32)),
        (Architecture("resnet10t", {"output_stride": 8}), (0, 1, 4), (2, 4, 8)),
        (SWIN, (0, 1, 2), (4, 8, 16)),
        (VGG, (0, 1, 2, 3), (1, 2, 4, 8)),
        (VIT, (0, 1, 2, 4), (16,) * 4),
        (Architecture("vit_tiny_patch16_224"), (2, 5, 8, 11), (16,) * 4),
    ],
)
def test_levels(
    architecture: Architecture, positions: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    backbone = Backbone(architecture, {"s1": SPECS["s1"]})
    levels = levels_of(backbone.timm, 6)
    assert (levels.positions, levels.strides) == (positions, strides)
    maps = backbone.pyramid(torch.zeros(1, 2, 64, 64))
    for position, width, stride in zip(positions, levels.channels, strides, strict=True):
        assert maps[position].shape[1:] == (width, 64 // stride, 64 // stride)


REFUSED: dict[str, tuple[Architecture, str]] = {
    "ViT": (VIT, "maps that all have a stride of 16.*use head upernet or linear"),
    "no maps": (Architecture("mixer_s32_224"), "stride of 32"),
    "unknown": (Architecture("resnet181"), "did you mean resnet18"),
    "options": (Architecture("resnet10t", {"channels": "wide"}), "resnet10t cannot be built"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_unet(case: str) -> None:
    architecture, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        build(Kind("unet", architecture, "s1"))


def quadrants(size: int) -> Tensor:
    """Two masks of four classes whose borders run through cells, (2, size, size)."""
    rows = torch.arange(size)[:, None] >= size // 2 + 3
    columns = torch.arange(size)[None, :] >= size // 2 - 5
    mask = 2 * rows + 1 * columns
    return torch.stack([mask, mask.T.flip(0)])


POSITIONS = [
    Kind("unet", RESNET, "late"),
    Kind("unet", SWIN, "scales"),
    Kind("upernet", RESNET, "scales"),
    Kind("linear", RESNET, "late"),
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", POSITIONS, ids=label)
def test_pixels_stay_in_place(kind: Kind) -> None:
    model, masks = build(kind, 4), quadrants(32)
    batch = patches(32, 32)
    batch["s1"] = torch.stack([700 * masks - 2500, -500 * masks - 800], 1).to(torch.int16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        logits = model(batch)
        torch.autograd.backward(F.cross_entropy(logits, masks))
        optimizer.step()
    assert (logits.argmax(1) == masks).float().mean() > 0.85
