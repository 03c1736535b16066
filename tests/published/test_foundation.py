"""Foundation models of torchgeo's classes, with small classes in its place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchgeo_stub
from checkpoints import imported, prepared
from ruamel.yaml import YAML
from specs import ARM
from torch import Tensor, nn

from eocontrast.cli.main import main
from eocontrast.config.arms import Arm, check_init
from eocontrast.config.finetuning import Recipes
from eocontrast.config.params import check_params
from eocontrast.config.published import PublishedRun
from eocontrast.finetuning.points import Job
from eocontrast.finetuning.run import train_points
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.build import load_finetuned
from eocontrast.models.weights import Pretrained, backbone_tensors
from eocontrast.patches.store import PatchStore
from eocontrast.published.catalogue import entry
from eocontrast.published.inputs import expected_input
from eocontrast.runtime.errors import UserError

INSTALL = r"needs torchgeo, which is not installed; run `pip install 'eocontrast\[foundation\]'`"


def test_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torchgeo_stub.uninstall(monkeypatch)
    with pytest.raises(UserError, match=f"dofa_s1_base {INSTALL}"):
        entry("dofa_s1_base")
    assert main(["weights", "fetch", "croma_s2_large"]) == 2
    assert "croma_s2_large needs torchgeo" in capsys.readouterr().err
    spec = expected_input("croma_s1_120")
    with pytest.raises(UserError, match=f"croma_base {INSTALL}"):
        Backbone(Architecture("torchgeo:croma_base", {"modalities": ["sar"]}), {"s1": spec})


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    torchgeo_stub.install(monkeypatch)


def checkpoint(net: nn.Module) -> dict[str, Tensor]:
    """Random tensors under the names of torchgeo's class, without those that nobody published."""
    draws = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(tensor.shape, generator=draws)
        for name, tensor in net.state_dict().items()
        if not name.startswith(("fc_norm", "patch_embed_variable"))
    }


def values(sensor: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if sensor == "s1":
        return rng.uniform(-25, -5, (2, 2, 64, 64)).round(2)
    return rng.uniform(1, 9000, (2, 13, 64, 64)).round()


@pytest.mark.usefixtures("stub")
def test_impossible_uses() -> None:
    run = PublishedRun(s1="croma_s1_base", s2="croma_s2_base")
    arm = Arm(**{**ARM, "init": "mine", "task": "segmentation", "head": "unet"})
    with pytest.raises(ValueError, match="head unet needs maps that halve"):
        check_init("arms.mine", arm, run, [entry(name).model for name in run.names.values()])
    raw = YAML(typ="safe", pure=True).load(Path(__file__).parents[1] / "params.yaml")
    raw["pretrain"]["runs"]["dual_simclr_resnet"]["init_from"] = ["dofa_s1_base", "dofa_s2_base"]
    with pytest.raises(UserError, match="continues from models of timm, and dofa_s1_base is none"):
        check_params(raw)


def test_card_names_package() -> None:
    assert Architecture("resnet50").title == "timm `resnet50`"
    assert Architecture("torchgeo:croma_base").title == "torchgeo `croma_base`"


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("name", ["dofa_s1_base", "dofa_s2_large"])
@torch.no_grad()
def test_dofa_with_wavelengths(name: str, tmp_path: Path) -> None:
    each, net = entry(name), torchgeo_stub.DOFA(num_classes=0)
    state = checkpoint(net)
    net.load_state_dict(state, strict=False)
    left_over = {"mask_token": torch.zeros(1), "norm.weight": torch.zeros(8)}
    backbone = imported(each, state | left_over, tmp_path, {})
    images = prepared(backbone, each.sensor, values(each.sensor))
    nine = [0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19]
    expected = net(images, [3.75, 3.75] if each.sensor == "s1" else nine)
    torch.testing.assert_close(backbone(images), expected)
    maps = backbone.forward_intermediates(images, intermediates_only=True)
    assert [tuple(each.shape) for each in maps] == [(2, 8, 2, 2)] * 4
    torch.testing.assert_close(net.fc_norm(maps[-1].mean((2, 3))), expected)


@pytest.mark.usefixtures("stub")
@torch.no_grad()
def test_copernicus_fm_without_place_and_time(tmp_path: Path) -> None:
    each, net = entry("copernicusfm_s1_base"), torchgeo_stub.CopernicusFM()
    state = checkpoint(net)
    net.load_state_dict(state, strict=False)
    unused = {"patch_embed_variable.weight": torch.zeros(8, 2)}
    backbone = imported(each, {"model": state | unused}, tmp_path, {})
    images = prepared(backbone, "s1", values("s1"))
    expected = net(images, torch.full((2, 4), torch.nan), [5e7, 5e7], [1e9, 1e9])
    torch.testing.assert_close(backbone(images), expected)


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize("sensor", ["s1", "s2"])
@torch.no_grad()
def test_croma_of_one_sensor(sensor: str, tmp_path: Path) -> None:
    each, net = entry(f"croma_{sensor}_base"), torchgeo_stub.CROMA()
    state = checkpoint(net)
    net.load_state_dict(state)
    saved: dict[str, dict[str, Tensor]] = {"joint_encoder": {"a": torch.zeros(1)}}
    for name, tensor in state.items():
        part, _, rest = name.partition(".")
        saved.setdefault(part, {})[rest] = tensor
    backbone = imported(each, saved, tmp_path, {})
    images = prepared(backbone, sensor, values(sensor))
    modality = {"s1": "sar", "s2": "optical"}[sensor]
    torch.testing.assert_close(
        backbone(images), net(**{f"x_{modality}": images})[f"{modality}_GAP"]
    )
    assert "net.attn_bias" not in backbone.state_dict()
    assert "attn_bias" in dict(backbone.net.named_buffers())
    with pytest.raises(UserError, match="of 120 x 120 pixels, but these have 120 x 60"):
        backbone(images[..., :60])


@pytest.mark.usefixtures("stub")
@pytest.mark.parametrize(
    ("task", "frozen"),
    [("classification", True), ("classification", False), ("segmentation", True)],
)
def test_arm_of_foundation_model(
    mixed_folder: Path, tiny_recipes: Recipes, tmp_path: Path, task: str, frozen: bool
) -> None:
    store = PatchStore(mixed_folder)
    parts = {}
    for sensor, spec in store.specs.items():
        bands = len(spec.modality.bands)
        made = Architecture(
            "torchgeo:dofa_base_patch16_224", {"wavelengths": [1.0 + n for n in range(bands)]}
        )
        parts[sensor] = made, replace(spec, resize=224)
    torch.manual_seed(0)
    backbones = {s: Backbone(made, {s: spec}) for s, (made, spec) in parts.items()}
    init = Pretrained(
        "published", parts["s1"][0], {s: spec for s, (_, spec) in parts.items()},
        backbone_tensors(backbones), "", others={"s2": parts["s2"][0]},
    )  # fmt: skip
    init.save(tmp_path / "init.safetensors")
    arm = Arm(**{**ARM, "init": "mine", "frozen": frozen, "task": task})
    init_file = tmp_path / "init.safetensors"
    job = Job("mine", mixed_folder, init_file, arm, tiny_recipes, 1.0, 0, "no", tmp_path)
    (trained,) = train_points([job])
    model, _ = load_finetuned(trained.file)
    tuned = model.backbones["s2"].state_dict()
    start = backbones["s2"].state_dict()
    changed = any(not torch.equal(start[name], tensor) for name, tensor in tuned.items())
    assert changed is not frozen
    batch = store.batch(np.arange(2), model.inputs)
    logits = model(batch)
    assert logits.isfinite().all()
    assert not torch.equal(logits[0], logits[1])
    if task == "segmentation":  # a tile that the scene's edge cuts
        assert model({s: each[..., :8] for s, each in batch.items()}).shape == (2, 3, 16, 8)
