import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from scenes import Scene, write_scene
from shipped import PARAMS

from eocontrast.cli.main import main
from eocontrast.modalities import SENTINEL1, Modality, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.models.weight_files import load_weights
from eocontrast.models.weights import Pretrained, backbone_tensors
from eocontrast.patches.inputs import InputSpec


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene beside the shipped parameters, in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    Path("mine").mkdir()
    return write_scene(Path("mine"), side=384)


def run(scene: Scene, *options: str) -> int:
    paths = ("--s2", str(scene.s2), "--labels", str(scene.labels), "--class-column", "crop")
    return main(["map", *paths, "--block", "1", "-o", "map.tif", "--steps", "60", *options])


@pytest.mark.slow
@pytest.mark.parametrize("sensors", [("s1", "s2"), ("s2",)], ids=["both", "optical"])
def test_map_is_scored_before_it_is_written(
    scene: Scene, sensors: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_bytes()
    assert run(scene, *(("--s1", str(scene.s1)) if "s1" in sensors else ())) == 0
    told = capsys.readouterr().out
    assert "held-out blocks: AA" in told
    assert told.index("held-out blocks") < told.index("map.tif\n")
    with rasterio.open("map.tif") as raster:
        right = (raster.read(1) - 1 == scene.truth).mean()
    assert right > 0.8
    header = load_weights(Path("map.safetensors"))[1]
    assert header["fusion"] == ("early" if len(sensors) > 1 else "s2")
    assert header["classes"] == ["maize", "rye", "wheat"]
    assert Path("params.yaml").read_bytes() == before
    left = {path.name for path in Path().iterdir()}
    files = {
        "map.tif",
        "map.tif.aux.xml",
        "map_confidence.tif",
        "map.safetensors",
        "map_audit.json",
    }
    assert left == files | {"mine", "params.yaml"}


def write_init(path: Path, *sensors: Sensor, model: str = "swin_tiny_patch4_window7_224") -> Path:
    """Write tiny weights of some sensors, drawn at random."""
    options = {"window_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    swin = model.startswith("swin")
    architecture = Architecture(model, {"img_size": 48, **options} if swin else {})
    modalities = {"s1": SENTINEL1, "s2": Modality(("B02", "B03", "B04", "B08"), "DN", (0, 10000))}
    statistics = {"s1": ((-11.0, -18.0), (3.0, 4.0)), "s2": ((600.0,) * 4, (500.0,) * 4)}
    specs = {s: InputSpec(modalities[s], *statistics[s], 48) for s in sensors}
    backbones = {s: Backbone(architecture, {s: spec}) for s, spec in specs.items()}
    tensors = backbone_tensors(backbones)
    Pretrained("simclr", architecture, specs, tensors, "digest of others").save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sensors", "model", "head"),
    [
        (("s1", "s2"), "swin_tiny_patch4_window7_224", "swin_unet"),
        (("s2",), "resnet10t", "unet"),
    ],
    ids=["both", "optical"],
)
def test_map_starts_from_pretrained_weights(
    scene: Scene,
    sensors: tuple[Sensor, ...],
    model: str,
    head: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    init = write_init(Path("mine/tiny.safetensors"), *sensors, model=model)
    assert run(scene, "--s1", str(scene.s1), "--init", str(init)) == 0
    told = capsys.readouterr().out
    assert ("tiny was trained on s2: s1 is left out" in told) == (sensors == ("s2",))
    assert told.index("held-out blocks") < told.index("map.tif\n")
    with rasterio.open("map.tif") as raster:
        assert (raster.read(1) - 1 == scene.truth).mean() > 0.6
    header = load_weights(Path("map.safetensors"))[1]
    assert (header["init"], header["method"], header["head"]) == ("tiny", "simclr", head)
    assert header["pretrained_digest"] == "digest of others"
    assert header["fusion"] == ("late" if len(sensors) > 1 else "s2")


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (("none.safetensors",), "none.safetensors: no such file"),
        (("mine/s1.safetensors",), "s1 was trained on s1, and there is an image of s2; pass --s1"),
        (("rn50_s2_mocco",), "did you mean"),
        (("mine/s1.safetensors", "rn50_s2_moco"), "--init takes one file of weights, or one"),
        (("mine/random.safetensors",), "holds no weights, for its method is random"),
    ],
)
def test_unfit_init_is_named(
    scene: Scene, init: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_init(Path("mine/s1.safetensors"), "s1")
    without = replace(Pretrained.load(weights), method="random", tensors={})
    without.save(Path("mine/random.safetensors"))
    assert run(scene, "--init", *init) == 2
    assert message in capsys.readouterr().err
    assert not Path("map.tif").exists()


def test_existing_map_is_kept(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    Path("map.safetensors").write_text("mine")
    assert run(scene) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("map.safetensors").read_text() == "mine"
