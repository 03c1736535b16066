import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from scenes import Scene, write_scene
from shipped import PARAMS

from eocontrast.cli.main import main
from eocontrast.config.params import load_params
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore
from eocontrast.sources.catalogue import fetch_source


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A scene beside the shipped parameters, in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMS, "params.yaml")
    Path("mine").mkdir()
    return write_scene(Path("mine"))


def start(scene: Scene, *options: str) -> int:
    paths = ("--s1", str(scene.s1), "--s2", str(scene.s2), "--labels", str(scene.labels))
    return main(["start", *paths, "--block", "2", "--patches", "9", *options])


def test_start_ends_in_a_store(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("params.yaml").read_text().splitlines()
    assert start(scene, "--class-column", "crop") == 0
    told = capsys.readouterr().out
    assert "DN because values are large" in told
    assert told.endswith("next: dvc repro\n")
    params = load_params()
    assert (params.data.pretrain, params.data.finetune) == ("manifest", "manifest")
    assert params.sources.manifest.s2.bands == ("B02", "B03", "B04", "B08")
    assert params.sources.manifest.classes == {"maize": 1, "rye": 2, "wheat": 3}
    # comments and all other lines stay as they were
    after = Path("params.yaml").read_text().splitlines()
    assert len(set(before) - set(after)) < 20
    raw, manifests = Path("data/raw/manifest"), Path("data/manifests/manifest")
    fetch_source("manifest", raw, manifests, params.sources)
    given = {**params.normalise.model_dump(), "fill_bands": params.fill_bands, "workers": 1}
    build_store(manifests, Path("store"), Path("audit.json"), **given)
    _check_store(PatchStore(Path("store")), scene)


def _check_store(store: PatchStore, scene: Scene) -> None:
    """Compare the masks of the store with the scene's truth."""
    assert store.classes == ("maize", "rye", "wheat")
    rows = store.labelled("train")
    assert len(rows) > 10
    for row, mask in zip(rows, store.masks(rows)[:, 0].numpy(), strict=True):
        name = store.index["id"].to_numpy()[row]
        top, left = 48 * int(name[1:5]), 48 * int(name[7:])
        truth = scene.truth[top : top + 48, left : left + 48]
        held = mask != 255
        assert held.any()
        np.testing.assert_array_equal(mask[held], truth[held])


def test_start_keeps_an_existing_manifest(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(scene, "--class-column", "crop") == 0
    assert start(scene, "--class-column", "crop") == 2
    assert "is there already" in capsys.readouterr().err
    assert start(scene, "--class-column", "crop", "--overwrite") == 0


def test_larger_patches_change_the_swin(scene: Scene) -> None:
    assert start(scene, "--class-column", "crop", "--patch-size", "64", "-o", "cut") == 0
    params = YAML(typ="safe").load(Path("params.yaml"))
    assert params["backbones"]["swin"]["options"]["img_size"] == 64
    assert pd.read_csv("cut/manifest.csv").s2.str.startswith("s2/").all()
    assert Path("cut/.gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--class-column", "kind"), "no column 'kind'; its columns are: crop"),
        (("--class-column", "crop", "--patch-size", "50"), "expected a multiple of 16"),
        (("--class-column", "crop", "--test-fraction", "1"), "expected a share between 0 and 1"),
        (("--class-column", "crop", "--s2-units", "reflectance"), "can hardly be reflectance"),
        (("--class-column", "crop", "--s2-bands", "B02", "B03"), "has 4 bands, expected 2"),
        (("--class-column", "crop", "--params", "none.yaml"), "run this in a clone"),
    ],
)
def test_mistake_is_named(
    scene: Scene, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_bytes()
    assert start(scene, *options) == 2
    assert message in capsys.readouterr().err
    assert Path("params.yaml").read_bytes() == before


def test_swapped_sensors_are_named(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    swapped = replace(scene, s1=scene.s2, s2=scene.s1)
    assert start(swapped, "--class-column", "crop") == 2
    assert "Are --s1 and --s2 swapped?" in capsys.readouterr().err
