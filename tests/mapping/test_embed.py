from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from eocontrast.cli.main import main
from eocontrast.models.reuse import load_backbone
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.files import file_sha256

WriteModel = Callable[..., Path]

PLACE = Affine(10, 0, 600000, 0, -10, 5300000)
BANDS = ("B02", "B03", "B04", "B08")


@pytest.fixture
def image(tmp_path: Path) -> tuple[Path, NDArray[np.uint16]]:
    """Sentinel-2, 40 x 50 px; one patch of 16 px is void, another by a quarter."""
    bands = np.random.default_rng(0).integers(500, 4000, (4, 40, 50)).astype(np.uint16)
    bands[:, 16:32, :16] = 0
    bands[:, :8, 24:32] = 0
    path = tmp_path / "s2.tif"
    where: dict[str, Any] = {"crs": "EPSG:32633", "transform": PLACE, "nodata": 0}
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint16", count=4, height=40, width=50, **where
    ) as raster:
        raster.write(bands)
    return path, bands


def test_embed_scene(
    tiny_inits: dict[str, Path],
    image: tuple[Path, NDArray[np.uint16]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, (path, bands) = tiny_inits["dual_simclr"], image
    out = tmp_path / "out.parquet"
    assert main(["embed", str(file), "--s2", str(path), "-o", str(out), "--patch", "16"]) == 0
    assert "note: no image of s1: the table has no column s1\n" in capsys.readouterr().err
    frame = geopandas.read_parquet(out)
    assert frame.crs.to_epsg() == 32633
    assert frame.geometry.is_valid.all()
    assert list(frame.columns) == ["row", "col", "valid", "s2", "geometry"]
    places = {(row, col) for row in (0, 16, 32) for col in (0, 16, 32, 48)} - {(16, 0)}
    assert set(zip(frame["row"], frame["col"], strict=True)) == places
    backbone = load_backbone(file, "s2")
    padded = np.zeros((4, 48, 64))
    padded[:, :40, :50] = bands
    padded[padded == 0] = np.nan
    for patch in frame.itertuples():
        left, bottom, right, top = patch.geometry.bounds
        assert (left, top) == PLACE @ (patch.col, patch.row)
        assert (right - left, top - bottom) == (160, 160)
        values = padded[:, patch.row : patch.row + 16, patch.col : patch.col + 16]
        assert patch.valid == pytest.approx(np.isfinite(values[0]).mean())
        features = backbone(backbone.input_spec.prepare(values, bands=BANDS, units="DN"))
        np.testing.assert_allclose(patch.s2, features[0].detach(), rtol=1e-3, atol=1e-4)
    assert (frame.attrs["weights"], frame.attrs["sha256"]) == (file.name, file_sha256(file))


def test_embed_store(tiny_inits: dict[str, Path], tiny_store: PatchStore, tmp_path: Path) -> None:
    file, out = tiny_inits["dual_simclr"], tmp_path / "out.parquet"
    assert main(["embed", str(file), "--store", str(tiny_store.folder), "-o", str(out)]) == 0
    frame = pd.read_parquet(out)
    assert list(frame.columns) == ["id", "group", "split", "label", "s1", "s2"]
    assert frame["id"].tolist() == tiny_store.index["id"].tolist()
    names = [tiny_store.classes[k] if k >= 0 else None for k in tiny_store.labels]
    assert [None if pd.isna(name) else name for name in frame["label"]] == names
    spec = tiny_store.specs["s2"]
    values = spec.modality.decode(tiny_store.read("s2", np.array([5])))
    backbone = load_backbone(file, "s2")
    features = backbone(backbone.input_spec.prepare(values, bands=BANDS, units="DN"))
    np.testing.assert_allclose(frame["s2"][5], features[0].detach(), rtol=1e-3, atol=1e-4)


def test_embed_with_fine_tuned_model(
    write_model: WriteModel, tiny_store: PatchStore, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    early = write_model(tiny_store, "early", fusion="early")
    assert main(["embed", str(early), "--store", str(tiny_store.folder), "-o", str(out)]) == 0
    features = pd.read_parquet(out)["s1_s2"]
    assert np.isfinite(np.stack(features.tolist())).all()
    assert np.stack(features.tolist()).std(0).max() > 0


def test_embed_mistakes_write_nothing(
    tiny_inits: dict[str, Path], write_model: WriteModel, tiny_store: PatchStore,
    image: tuple[Path, NDArray[np.uint16]], tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out, trained = tmp_path / "out.parquet", tiny_inits["dual_simclr"]
    scene, store = ["--s2", str(image[0])], ["--store", str(tiny_store.folder)]
    early = write_model(tiny_store, "early", fusion="early")
    unet = write_model(tiny_store, "unet", head="unet", task="segmentation", fusion="early")
    for file, options, message in (
        (trained, [], "pass a scene"),
        (trained, [*scene, *store], "pass a scene"),
        (tiny_inits["random"], scene, "holds no trained backbones"),
        (unet, scene, "no backbone for s2 alone, only for: s1 and s2"),
        (early, scene, "no backbone for s2 alone, only for: s1 and s2"),
        (trained, [*scene, "--s2-units", "dB"], "expect DN"),
    ):
        assert main(["embed", str(file), *options, "-o", str(out)]) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()
    out.write_text("mine")
    for options in (scene, store):
        assert main(["embed", str(trained), *options, "-o", str(out)]) == 2
        assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine"
