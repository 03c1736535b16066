import shutil
from pathlib import Path

import pytest
import rasterio
from scenes import Scene, write_scene
from shipped import PARAMS

from eocontrast.cli.main import main
from eocontrast.models.weights import load_weights


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
    files = {"map.tif", "map.tif.aux.xml", "map_confidence.tif", "map.safetensors"}
    assert left == files | {"mine", "params.yaml"}


def test_existing_map_is_kept(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    Path("map.safetensors").write_text("mine")
    assert run(scene) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("map.safetensors").read_text() == "mine"
