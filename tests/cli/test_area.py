"""Options of `eocontrast predict --area` that describe images."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from shipped import PARAMS

# imported before a test replaces load_finetuned, or this module would keep the replacement
import eocontrast.mapping.predict  # noqa: F401
from eocontrast.cli.main import main
from eocontrast.mapping.scenes import Image
from eocontrast.modalities import SENTINEL2_L2A
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.values import Offset

SPEC = InputSpec(SENTINEL2_L2A, (0,) * 12, (1,) * 12, 16)
PLACE = ("--area", "9,48,9.1,48.1", "--dates", "2023-05/2023-06")
AREA = ("predict", "m.safetensors", *PLACE, "-o", "a.tif")


@pytest.fixture(autouse=True)
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of Sentinel-2 and a catalogue whose image is there at once."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")

    def write_scene(params: object, sensors: Sequence[str], folder: Path) -> dict[str, Path]:
        return {sensor: folder / f"{sensor}.tif" for sensor in sensors}

    model = SimpleNamespace(inputs={"s2": SPEC})
    monkeypatch.setattr("eocontrast.models.build.load_finetuned", lambda path: (model, None))
    monkeypatch.setattr("eocontrast.sources.stac.scene.write_scene", write_scene)


@pytest.mark.parametrize(
    ("options", "offset"),
    [((), "auto"), (("--s2-offset", "1000"), 1000.0), (("--s2-offset", "0"), 0.0)],
)
def test_offset_reaches_the_image(
    options: tuple[str, ...], offset: Offset, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: list[dict[str, Image]] = []

    def map_scene(model: Path, images: dict[str, Image], out: Path, **rest: object) -> list[Path]:
        mapped.append(images)
        return [out]

    monkeypatch.setattr("eocontrast.mapping.predict.map_scene", map_scene)
    assert main([*AREA, *options]) == 0
    (images,) = mapped
    assert {sensor: image.files.offset for sensor, image in images.items()} == {"s2": offset}


@pytest.mark.parametrize(
    "options", [("--s2-units", "reflectance"), ("--s1-bands", "VV", "VH"), ("--s2-nodata", "0")]
)
def test_words_about_files_are_refused(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*AREA, *options]) == 2
    assert f"{options[0]} describes a file" in capsys.readouterr().err
