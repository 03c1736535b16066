"""The published layouts, written here name by name, against the models as they were published."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from eocontrast.modalities import SENSORS, SENTINEL2_L1C, Modality, Sensor
from eocontrast.models.backbones import Architecture, create_backbone
from eocontrast.published.checkpoints import read_checkpoint
from eocontrast.published.convert import input_spec, timm_backbone
from eocontrast.published.papers import published_backbones
from eocontrast.runtime.errors import UserError

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

BANDS: dict[Sensor, int] = {"s1": 2, "s2": 13}
BRANCH: dict[Sensor, str] = {"s1": "backbone1.", "s2": "backbone2."}
PARTS = ("weight", "bias")
RGB = Modality(("B02", "B03", "B04"), "DN", (0.0, 10000.0))


def swin_shapes(in_chans: int) -> Shapes:
    """The 190 tensors of a branch under Microsoft's names."""
    shapes: Shapes = {"patch_embed.proj.weight": (96, in_chans, 4, 4)}
    shapes |= {f"patch_embed.{n}": (96,) for n in ("proj.bias", "norm.weight", "norm.bias")}
    for stage, (depth, heads) in enumerate(zip((2, 2, 6, 2), (3, 6, 12, 24), strict=True)):
        dim = 96 * 2**stage
        for block in range(depth):
            at = f"layers.{stage}.blocks.{block}."
            if block % 2 and stage < 3:  # the last stage is one window, and shifts nothing
                shapes[f"{at}attn_mask"] = ((56 // 2**stage // 7) ** 2, 49, 49)
            shapes |= {f"{at}{n}.{p}": (dim,) for n in ("norm1", "norm2") for p in PARTS}
            shapes[f"{at}attn.relative_position_bias_table"] = (169, heads)
            shapes[f"{at}attn.relative_position_index"] = (49, 49)
            sizes = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
            for name, (rows, columns) in sizes.items():
                shapes[f"{at}{name}.weight"] = (rows * dim, columns * dim)
                shapes[f"{at}{name}.bias"] = (rows * dim,)
        if stage < 3:
            at = f"layers.{stage}.downsample."
            shapes[f"{at}reduction.weight"] = (2 * dim, 4 * dim)
            shapes |= {f"{at}norm.{part}": (4 * dim,) for part in PARTS}
    shapes |= {f"norm.{part}": (768,) for part in PARTS}
    return shapes | {"head.weight": (1000, 768), "head.bias": (1000,)}


def resnet_shapes(in_chans: int, depth: int) -> Shapes:
    """torchvision's names, with the projection head in the classifier's place."""
    block, expansion = {18: ((3, 3), 1), 50: ((1, 3, 1), 4)}[depth]
    shapes: Shapes = {"conv1.weight": (64, in_chans, 7, 7)} | _norm("bn1", 64)
    width = 64
    for stage, blocks in enumerate((2, 2, 2, 2) if depth == 18 else (3, 4, 6, 3)):
        planes = 64 * 2**stage
        for number in range(blocks):
            at = f"layer{stage + 1}.{number}."
            seen = width
            for conv, kernel in enumerate(block):
                out = planes * expansion if conv == len(block) - 1 else planes
                shapes[f"{at}conv{conv + 1}.weight"] = (out, seen, kernel, kernel)
                shapes |= _norm(f"{at}bn{conv + 1}", out)
                seen = out
            if number == 0 and (stage or depth == 50):
                shapes[f"{at}downsample.0.weight"] = (seen, width, 1, 1)
                shapes |= _norm(f"{at}downsample.1", seen)
            width = seen
    head: Shapes = {"fc.0.weight": (width, width), "fc.0.bias": (width,)}
    return shapes | head | {"fc.2.weight": (128, width), "fc.2.bias": (128,)}


def _norm(name: str, width: int) -> Shapes:
    shapes: Shapes = {f"{name}.{n}": (width,) for n in (*PARTS, "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def drawn(shapes: Shapes, seed: int) -> State:
    """Random weights that neither die out nor explode on the way through the model."""
    draws = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=draws)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(100)
        elif name.endswith(("relative_position_index", "attn_mask")):
            state[name] = torch.zeros(shape)
        elif len(shape) > 1 and "table" not in name:
            state[name] = noise * (2 / noise[0].numel()) ** 0.5
        elif name.endswith(("weight", "running_var")):
            state[name] = 1 + 0.1 * noise.abs()
        else:
            state[name] = 0.1 * noise
    return state


def checkpoint(branches: dict[Sensor, State]) -> dict[str, object]:
    """As the authors saved it."""
    state = {f"{BRANCH[s]}{n}": t for s, branch in branches.items() for n, t in branch.items()}
    optimizer = {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    return {"epoch": 7, "arch": "resnet101", "state_dict": state, "optimizer": optimizer}


def empty(shapes: Callable[[int], Shapes]) -> State:
    """A state of these shapes that takes no memory."""
    return {
        f"{BRANCH[sensor]}{name}": torch.zeros(()).expand(shape)
        for sensor in SENSORS
        for name, shape in shapes(BANDS[sensor]).items()
    }


def resnet18(in_chans: int) -> Shapes:
    return resnet_shapes(in_chans, 18)


def published_images(sensor: Sensor, size: int) -> tuple[Tensor, Tensor]:
    """Stored integers of two patches, and what the published code makes of them."""
    draws = torch.Generator().manual_seed(0)
    shape = (2, BANDS[sensor], size, size)
    if sensor == "s1":
        stored = torch.randint(-4000, 300, shape, generator=draws, dtype=torch.int16)
        shifted = (stored / 100).clip(-25, 0) + 25
    else:
        stored = torch.randint(0, 12000, shape, generator=draws, dtype=torch.int32)
        shifted = stored.float().clip(0, 10000)
    maximum = shifted.amax(dim=(2, 3), keepdim=True)
    return stored.to(torch.int16 if sensor == "s1" else torch.uint16), shifted / (maximum + 1e-5)


def as_torchvision(state: State, in_chans: int) -> nn.Module:
    """torchvision's Swin-T with these weights: another implementation than timm's."""
    model: nn.Module = torchvision.models.swin_t()
    model.get_submodule("features.0").register_module("0", nn.Conv2d(in_chans, 96, 4, 4))
    model.head = nn.Identity()
    renamed = {}
    for name, tensor in state.items():
        if name.startswith("head.") or name.endswith(("relative_position_index", "attn_mask")):
            continue
        new = name.replace("patch_embed.proj", "features.0.0").replace(
            "patch_embed.norm", "features.0.2"
        )
        new = re.sub(r"layers\.(\d)\.blocks", lambda m: f"features.{2 * int(m[1]) + 1}", new)
        new = re.sub(r"layers\.(\d)\.downsample", lambda m: f"features.{2 * int(m[1]) + 2}", new)
        renamed[new.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")] = tensor
    left = model.load_state_dict(renamed, strict=False)
    assert not left.unexpected_keys
    assert all(name.endswith("relative_position_index") for name in left.missing_keys)
    return model.eval()


@torch.inference_mode()
def test_published_swin_equals_torchvision(tmp_path: Path) -> None:
    branches = {s: drawn(swin_shapes(BANDS[s]), seed) for seed, s in enumerate(SENSORS)}
    assert {len(branch) for branch in branches.values()} == {190}
    torch.save(checkpoint(branches), tmp_path / "swin.pth")
    imported = published_backbones(read_checkpoint(tmp_path / "swin.pth"))
    assert imported.architecture.name == "swin_tiny_patch4_window7_224"
    for sensor in SENSORS:
        assert imported.specs[sensor].patch_size == 224
        stored, images = published_images(sensor, 224)
        found = imported.backbone(sensor).eval()({sensor: stored})
        expected = as_torchvision(branches[sensor], BANDS[sensor])(images)
        assert expected.std() > 0.1
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layers.0.blocks.0.attn.relative_position_bias_table", (225, 3)),
        ("patch_embed.proj.weight", (96, 3, 8, 8)),
    ],
)
def test_swin_of_other_shape(name: str, shape: tuple[int, ...]) -> None:
    """timm would resize these tensors."""
    state = {n: torch.zeros(()).expand(s) for n, s in swin_shapes(3).items()}
    state[name] = torch.zeros(shape)
    architecture = Architecture("swin_tiny_patch4_window7_224")
    with pytest.raises(UserError, match=re.escape(f"{name} has the shape {shape}")):
        timm_backbone(state, architecture, "s2", input_spec(RGB, 224, "crop_maximum"))


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_published_resnet_equals_torchvision(tmp_path: Path, depth: int) -> None:
    branches = {s: drawn(resnet_shapes(BANDS[s], depth), n) for n, s in enumerate(SENSORS)}
    torch.save(checkpoint(branches), tmp_path / "resnet.pth")
    imported = published_backbones(read_checkpoint(tmp_path / "resnet.pth"))
    assert imported.architecture == Architecture(f"resnet{depth}")
    for sensor in SENSORS:
        model = getattr(torchvision.models, f"resnet{depth}")()
        model.conv1 = nn.Conv2d(BANDS[sensor], 64, 7, 2, 3, bias=False)
        model.fc = nn.Identity()
        body = {n: t for n, t in branches[sensor].items() if not n.startswith("fc.")}
        model.load_state_dict(body)
        stored, images = published_images(sensor, 128)
        found = imported.backbone(sensor).eval()({sensor: stored})
        expected = model.eval()(images)
        # weights drawn here let activations grow from block to block: compare on their scale
        scale = float(expected.abs().max())
        torch.testing.assert_close(found / scale, expected / scale, rtol=1e-5, atol=1e-5)


def test_published_input_spec() -> None:
    specs = published_backbones(empty(resnet18)).specs
    assert specs["s1"].modality == Modality(("VV", "VH"), "dB", (-25.0, 0.0))
    assert specs["s2"].modality == SENTINEL2_L1C
    assert {(s.scaling, s.patch_size) for s in specs.values()} == {("crop_maximum", 128)}


@pytest.mark.parametrize("wrapped", ["module.{}", "{branch}module.{name}"])
def test_data_parallel_single_sensor(wrapped: str) -> None:
    state = {}
    for name, tensor in empty(resnet18).items():
        branch, dot, rest = name.partition(".")
        state[wrapped.format(name, branch=branch + dot, name=rest)] = tensor
    imported = published_backbones(state, ["s2"])
    assert imported.trained == ("s2",)
    assert list(imported.specs) == ["s2"]


def test_published_layout_mismatch() -> None:
    def refused(state: State, *words: str) -> None:
        with pytest.raises(UserError) as caught:
            published_backbones(state)
        for word in words:
            assert word in str(caught.value)

    whole = empty(resnet18)
    lacking = {n: t for n, t in whole.items() if n != "backbone2.layer2.0.bn1.weight"}
    refused(lacking, "missing layer2.0.bn1.weight", "backbone2.", "resnet18")
    deeper = {"backbone1.layer3.2.conv1.weight": torch.zeros(1)}
    refused(whole | deeper, "unexpected layer3.2.conv1.weight", "backbone1.")
    refused(whole | {"decoder.weight": torch.zeros(1)}, "unknown layout", "decoder.weight")
    refused({n: t for n, t in whole.items() if n.startswith("backbone1")}, "unknown layout")
    vgg = {
        "backbone1.features.0.weight": torch.zeros(1),
        "backbone2.features.0.weight": torch.zeros(1),
    }
    refused(vgg, "unknown layout", "features.0.weight", "--model")
    twelve = torch.zeros(64, 12, 7, 7)
    refused(whole | {"backbone2.conv1.weight": twelve}, "12 bands", "13", "B8A")
    narrow = torch.zeros(32, 64, 3, 3)
    refused(whole | {"backbone1.layer1.0.conv1.weight": narrow}, "(32, 64, 3, 3)", "(64, 64, 3, 3)")
    lost = torch.full((64, 2, 7, 7), torch.nan)
    refused(whole | {"backbone1.conv1.weight": lost}, "backbone1.conv1.weight", "no numbers")


@pytest.fixture(scope="module")
def small() -> tuple[Architecture, State]:
    """A ResNet of a few thousand parameters, with a classifier."""
    architecture = Architecture("resnet10t", {"channels": [8, 8, 16, 16]})
    torch.manual_seed(0)
    state = create_backbone(architecture, 3).state_dict()
    return architecture, {**state, "fc.weight": torch.zeros(9, 16), "fc.bias": torch.zeros(9)}


SPEC = input_spec(RGB, 64, "band_statistics", (1.0, 2.0, 3.0), (1.0, 2.0, 3.0))


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict", "teacher"])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.encoder."])
def test_any_timm_model(
    tmp_path: Path, small: tuple[Architecture, State], key: str | None, prefix: str
) -> None:
    architecture, state = small
    named = {prefix + name: tensor for name, tensor in state.items()}
    path = tmp_path / "w.pt"
    torch.save({key: named, "epoch": torch.tensor(3)} if key else named, path)
    for given in (prefix, None):
        imported = timm_backbone(read_checkpoint(path), architecture, "s2", SPEC, given)
        loaded = imported.backbone("s2").timm.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.items())
    assert (imported.trained, imported.specs) == (("s2",), {"s2": SPEC})


def test_safetensors_and_half_precision(tmp_path: Path, small: tuple[Architecture, State]) -> None:
    architecture, state = small
    save_file(
        {n: t.half() if t.is_floating_point() else t for n, t in state.items()}, tmp_path / "w"
    )
    imported = timm_backbone(read_checkpoint(tmp_path / "w"), architecture, "s2", SPEC)
    dtypes = {t.dtype for n, t in imported.tensors.items() if "tracked" not in n}
    assert dtypes == {torch.float32}


def test_two_models_need_prefix(
    small: tuple[Architecture, State],
) -> None:
    architecture, state = small
    both = {f"{who}.{name}": t for who in ("student", "teacher") for name, t in state.items()}
    with pytest.raises(UserError, match=r"'student\.', 'teacher\.'.*--prefix"):
        timm_backbone(both, architecture, "s2", SPEC)
    assert timm_backbone(both, architecture, "s2", SPEC, "teacher.").trained == ("s2",)
    with pytest.raises(UserError, match=r"begins with 'net\.'.*student"):
        timm_backbone(both, architecture, "s2", SPEC, "net.")


def test_timm_model_mismatch(small: tuple[Architecture, State]) -> None:
    architecture, state = small
    thirteen = input_spec(SENTINEL2_L1C, 64, "crop_maximum")
    with pytest.raises(UserError, match=r"these weights take 3 bands.*13 are named"):
        timm_backbone(state, architecture, "s2", thirteen)
    with pytest.raises(UserError, match=r"is no resnet18: missing .*; unexpected .*more"):
        timm_backbone(state, Architecture("resnet18"), "s2", SPEC, "")
    with pytest.raises(UserError, match=r"no vit_tiny_patch16_224 was found"):
        timm_backbone(state, Architecture("vit_tiny_patch16_224"), "s2", SPEC)
    wide = Architecture("resnet10t", {"channels": [8, 8, 16, 32]})
    with pytest.raises(UserError, match=r"layer4.* has the shape .*options"):
        timm_backbone(state, wide, "s2", SPEC)


def test_band_statistics_per_band() -> None:
    for mean, sd in (((), ()), ((1.0,), (1.0,)), ((1.0, 2.0, 3.0), (1.0, 0.0, 1.0))):
        with pytest.raises(UserError, match="needs 3 means"):
            input_spec(RGB, 64, "band_statistics", mean, sd)


class Code:
    """What a pickle can do to whoever opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("how", ["torch", "old torch", "pickle"])
def test_pickled_code_refused(tmp_path: Path, how: str) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Code(trace)}))
    else:
        torch.save({"a": Code(trace)}, path, _use_new_zipfile_serialization=how == "torch")
    # a bare pickle is refused before its code is reached
    says = "is no checkpoint" if how == "pickle" else "holds code.*system"
    with pytest.raises(UserError, match=rf"evil\.pth {says}.*not executed"):
        read_checkpoint(path)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("how", ["torch", "old torch", "safetensors"])
def test_truncated_file(tmp_path: Path, how: str, share: float) -> None:
    path = tmp_path / "half.pth"
    state = {"a": torch.randn(3000), "b": torch.randn(50, 3)}
    if how == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "torch")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"half\.pth is no (checkpoint|whole)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_file_without_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"no\.pth is no checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize("saved", [[1, 2], {"epoch": 3}, {"state_dict": {}}, 7])
def test_checkpoint_without_weights(tmp_path: Path, saved: object) -> None:
    torch.save(saved, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth holds no weights"):
        read_checkpoint(tmp_path / "w.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.pth cannot be read"):
        read_checkpoint(tmp_path / "gone.pth")
