from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.segmenters import pad_to_multiple
from eocontrast.models.swin_unet import PatchExpand, SwinUNet
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.runtime.errors import UserError

S1 = InputSpec(SENTINEL1, (-12.0, -18.0), (3.0, 3.0), 64)
S2 = InputSpec(SENTINEL2_L1C, (1000.0,) * 13, (500.0,) * 13, 64)
SPECS: dict[Sensor, InputSpec] = {"s1": S1, "s2": S2}

SWIN = Architecture(
    "swin_tiny_patch4_window7_224",
    {
        "img_size": 64,
        "window_size": 4,
        "embed_dim": 16,
        "depths": [2, 2, 2],
        "num_heads": [1, 2, 4],
    },
)
# stochastic depth leaves out whole branches of so few samples
STILL = Architecture(SWIN.name, {**SWIN.options, "drop_path_rate": 0.0})

Model = Literal["late", "scales", "s1"]
MODELS: tuple[Model, ...] = ("late", "scales", "s1")


def patches(height: int, width: int, size: int = 2) -> Batch:
    draws = torch.Generator().manual_seed(0)
    s1 = torch.randint(-3000, -1, (size, 2, height, width), generator=draws)
    s2 = torch.randint(1, 10000, (size, 13, height, width), generator=draws)
    return {"s1": s1.to(torch.int16), "s2": s2.to(torch.uint16)}


def backbones(architecture: Architecture, *sensors: Sensor) -> dict[str, Backbone]:
    return {sensor: Backbone(architecture, {sensor: SPECS[sensor]}) for sensor in sensors}


def segmenter(model: Model, num_classes: int = 3, swin: Architecture = SWIN) -> SwinUNet:
    torch.manual_seed(0)
    sensors: tuple[Sensor, ...] = ("s1",) if model == "s1" else SENSORS
    return SwinUNet(backbones(swin, *sensors), num_classes, fuse_skips=model == "scales")


@torch.no_grad()
def predict(model: nn.Module, batch: Batch) -> Tensor:
    logits: Tensor = model.eval()(batch)
    return logits


@pytest.mark.parametrize(("height", "width"), [(64, 64), (224, 224), (256, 256), (50, 61), (5, 3)])
@pytest.mark.parametrize("model", MODELS)
def test_every_pixel_of_every_size_gets_a_logit_a_class(
    model: Model, height: int, width: int
) -> None:
    logits = predict(segmenter(model), patches(height, width))
    assert logits.shape == (2, 3, height, width)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("fuse_skips", [False, True])
def test_the_papers_backbone_at_the_papers_size(fuse_skips: bool) -> None:
    swin = Architecture("swin_tiny_patch4_window7_224")
    model = SwinUNet(backbones(swin, "s1", "s2"), 8, fuse_skips)
    assert predict(model, patches(224, 224, 1)).shape == (1, 8, 224, 224)
    assert model.tile_multiple == 224


@pytest.mark.parametrize(
    ("options", "sides"),
    [
        ({}, 64),
        ({"window_size": [4, 4, 2]}, 32),
        ({"patch_size": [4, 2]}, 64),
        ({"depths": [2], "num_heads": [2]}, 16),
    ],
)
def test_images_of_whole_windows_are_padded_nowhere(
    options: dict[str, Any], sides: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SwinUNet(
        backbones(Architecture(SWIN.name, {**SWIN.options, **options}), "s1"), 3, False
    )
    assert model.tile_multiple == sides
    padded: list[Any] = []
    pad = F.pad

    def watched(images: Tensor, sizes: Any, *args: Any, **more: Any) -> Tensor:  # noqa: ANN401
        padded.extend(size for size in sizes if size)
        return pad(images, sizes, *args, **more)

    monkeypatch.setattr(F, "pad", watched)
    predict(model, patches(3 * sides, 2 * sides))
    assert not padded
    predict(model, patches(3 * sides + 8, 2 * sides))
    assert padded


@pytest.mark.parametrize(
    "options",
    [
        {"patch_size": 2, "depths": [1, 3]},
        {"patch_size": [4, 2]},
        {"window_size": [4, 4, 2]},
        {"mlp_ratio": 2.0, "head_dim": 4},
        {"always_partition": False},
        {"depths": [2], "num_heads": [2]},
    ],
)
def test_any_swin_has_its_decoder(options: dict[str, Any]) -> None:
    swin = Architecture(SWIN.name, {**SWIN.options, **options})
    for fuse_skips in (False, True):
        model = SwinUNet(backbones(swin, "s1", "s2"), 3, fuse_skips)
        assert predict(model, patches(64, 64)).shape == (2, 3, 64, 64)
        assert predict(model, patches(41, 36)).shape == (2, 3, 41, 36)


def test_decoders_mirror_their_backbone() -> None:
    model = SwinUNet(backbones(SWIN, "s1"), 3, fuse_skips=False)
    shapes = {name: list(tensor.shape) for name, tensor in model.named_parameters()}
    stages = ((0, 1), (1, 0))  # of the backbone, and of the decoder; the last one is the bottleneck
    for theirs, ours in stages:
        for block in (0, 1):
            prefix = f"backbones.s1.timm.layers.{theirs}.blocks.{block}."
            mirrored = f"decoders.0.stages.{ours}.blocks.blocks.{block}."
            expected = {
                n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)
            }
            found = {
                n.removeprefix(mirrored): s for n, s in shapes.items() if n.startswith(mirrored)
            }
            assert found == expected


def test_late_streams_meet_only_at_the_end() -> None:
    model = segmenter("late")
    seen: list[Tensor] = []
    for decoder in model.decoders:
        decoder.register_forward_hook(lambda _, __, tokens: seen.append(tokens))
    batch = patches(64, 64)
    predict(model, batch)
    predict(model, {**batch, "s2": batch["s2"].flip(0)})
    s1, s2, s1_again, s2_again = seen
    assert s1.shape == s2.shape == (2, 16, 16, 16)
    assert torch.equal(s1, s1_again)
    assert not torch.equal(s2, s2_again)


def test_skips_of_one_backbone_have_nothing_to_be_fused_with() -> None:
    plain, fused = (SwinUNet(backbones(SWIN, "s2"), 3, fuse) for fuse in (False, True))
    fused.load_state_dict(plain.state_dict())
    batch = patches(64, 64)
    assert torch.equal(predict(fused, batch), predict(plain, batch))


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_gets_a_gradient(model: Model) -> None:
    segment = segmenter(model, swin=STILL)
    batch, truth = patches(64, 64), torch.randint(3, (2, 64, 64))
    torch.autograd.backward(F.cross_entropy(segment(batch), truth))
    gradients = {n: p.grad for n, p in segment.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all()] == []
    assert [n for n, g in gradients.items() if g is not None and not g.any()] == []


@pytest.mark.parametrize("model", ["late", "scales", "s1"])
def test_nothing_is_remembered_of_frozen_backbones(model: Model) -> None:
    segment = segmenter(model)
    segment.backbones.requires_grad_(False).eval()
    seen: list[Tensor] = []
    for backbone in segment.backbones.values():
        assert isinstance(backbone, Backbone)
        for module in backbone.timm.modules():
            module.register_forward_hook(lambda _, __, output: seen.append(output))
    torch.autograd.backward(segment(patches(64, 64)).mean())
    assert seen
    assert not any(output.requires_grad for output in seen)
    assert all(
        (p.grad is None) == n.startswith("backbones.") for n, p in segment.named_parameters()
    )


@pytest.mark.parametrize("missing", [("s1",), ("s2",), SENSORS])
@pytest.mark.parametrize("model", MODELS)
def test_a_sensor_that_is_not_there_gives_finite_logits(
    model: Model, missing: tuple[Sensor, ...]
) -> None:
    batch = patches(64, 64)
    for sensor in missing:
        nodata = SPECS[sensor].modality.storage.nodata
        batch[sensor] = torch.full_like(batch[sensor], nodata)
    assert predict(segmenter(model), batch).isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_batch_patches_are_independent(model: Model) -> None:
    segment, batch = segmenter(model), patches(48, 48, 4)
    logits = predict(segment, batch)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {sensor: stored[order] for sensor, stored in batch.items()}
    # batches sum in different orders: the widest sum has 9 x 512 terms, each with a relative
    # rounding error of eps; patches that saw each other would differ by far more
    bound = 9 * 512 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(predict(segment, shuffled), logits[order], rtol=bound, atol=bound)
    alone = {sensor: stored[1:2] for sensor, stored in batch.items()}
    torch.testing.assert_close(predict(segment, alone), logits[1:2], rtol=bound, atol=bound)


def mirrored(stored: Tensor, height: int, width: int) -> Tensor:
    """Row by row and column by column: the last one is not repeated."""
    rows = [*range(stored.shape[2]), *range(stored.shape[2] - 2, -1, -1)][:height]
    columns = [*range(stored.shape[3]), *range(stored.shape[3] - 2, -1, -1)][:width]
    return stored[:, :, rows][..., columns]


@pytest.mark.parametrize("model", MODELS)
def test_a_padded_prediction_is_that_of_the_mirrored_patch(model: Model) -> None:
    segment, batch = segmenter(model), patches(50, 61)
    whole = {sensor: mirrored(stored, 64, 64) for sensor, stored in batch.items()}
    assert torch.equal(predict(segment, batch), predict(segment, whole)[..., :50, :61])


def test_padding_mirrors_or_else_repeats_the_edge() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4).contiguous(memory_format=torch.channels_last)
    assert pad_to_multiple(images, (3, 2)) is images
    assert torch.equal(pad_to_multiple(images, (5, 4)), mirrored(images, 5, 4))
    assert pad_to_multiple(images, (8, 4))[0, 0, :, 0].tolist() == [0, 4, 8, 8, 8, 8, 8, 8]


@pytest.mark.parametrize("factor", [(2, 2), (4, 4), (4, 2)])
def test_patch_expand_is_the_loop_over_tokens(factor: tuple[int, int]) -> None:
    torch.manual_seed(0)
    expand, (high, wide) = PatchExpand(6, 3, factor), factor
    tokens = torch.randn(2, 5, 4, 6)
    expanded = expand(tokens)
    assert expanded.shape == (2, 5 * high, 4 * wide, 3)
    for b, row, column in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(4)):
        pieces = (expand.expand.weight @ tokens[b, row, column]).chunk(high * wide)
        for number, piece in enumerate(pieces):
            y, x = row * high + number // wide, column * wide + number % wide
            expected = (piece - piece.mean()) / (piece.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(expanded[b, y, x], expected, rtol=1e-4, atol=1e-5)


def quadrants(size: int) -> Tensor:
    """Two masks of four classes whose borders run through tokens, (2, size, size)."""
    rows = torch.arange(size)[:, None] >= size // 2 + 3
    columns = torch.arange(size)[None, :] >= size // 2 - 5
    mask = 2 * rows + 1 * columns
    return torch.stack([mask, mask.T.flip(0)])


@pytest.mark.parametrize("model", MODELS)
def test_pixels_are_where_they_were(model: Model) -> None:
    segment, masks = segmenter(model, 4, STILL), quadrants(32)
    batch = patches(32, 32)
    batch["s1"] = torch.stack([700 * masks - 2500, -500 * masks - 800], 1).to(torch.int16)
    optimizer = torch.optim.AdamW(segment.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        # in training mode: BatchNorm's running statistics of two patches are a lottery
        logits = segment(batch)
        torch.autograd.backward(F.cross_entropy(logits, masks))
        optimizer.step()
    assert (logits.argmax(1) == masks).float().mean() > 0.9


@pytest.mark.parametrize("name", ["resnet18", "swinv2_tiny_window8_256"])
def test_what_is_no_swin_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"backbone of s2 is a (ResNet|SwinTransformerV2).*swin_"):
        SwinUNet(backbones(Architecture(name), "s2"), 3, fuse_skips=False)


def test_swin_unet_honours_resize() -> None:
    """A model of 64 px sees an enlarged patch, and its logits shrink back to the pixels."""
    plain = segmenter("s1").eval()
    torch.manual_seed(0)
    resizing = SwinUNet({"s1": Backbone(SWIN, {"s1": replace(S1, resize=64)})}, 3, False)
    batch = patches(32, 32)
    found = predict(resizing, batch)
    with torch.no_grad():
        image = plain.backbones["s1"].images(batch)  # type: ignore[operator]
        maps = plain.backbones["s1"].pyramid(F.interpolate(image, (64, 64), mode="bilinear"))  # type: ignore[operator]
        tokens = plain.decoders[0]([of_level.permute(0, 2, 3, 1) for of_level in maps])
        expected = F.interpolate(plain.join({"s1": tokens}), (32, 32), mode="bilinear")
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    sizes = {"s1": Backbone(SWIN, {"s1": replace(S1, resize=64)}), **backbones(SWIN, "s2")}
    with pytest.raises(UserError, match="different sizes"):
        SwinUNet(sizes, 3, fuse_skips=False)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_says_what_it_sees(model: Model) -> None:
    segment = segmenter(model)
    assert list(segment.inputs) == (["s1"] if model == "s1" else ["s1", "s2"])
    batch: Mapping[str, Tensor] = patches(32, 32)
    before = predict(segment, dict(batch))
    for sensor in SENSORS:
        changed = {**batch, sensor: batch[sensor].flip(0)}
        assert torch.equal(predict(segment, changed), before) == (sensor not in segment.inputs)
