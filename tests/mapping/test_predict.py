"""Maps of whole scenes: the files hold what the bare model predicts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from numpy.typing import NDArray
from raster_files import write_raster
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate

from eocontrast.cli.main import main
from eocontrast.mapping.predict import Layout, lay_out, predict_blocks
from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.mapping.tiles import Blend, Tile, Tiling
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture
from eocontrast.models.build import load_finetuned
from eocontrast.models.model import Model
from eocontrast.models.weight_files import load_weights, save_weights
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.files import file_sha256
from eocontrast.tracking.tracker import Tracker
from eocontrast.tracking.views import WEIGHTS_TAG
from eocontrast.training.devices import accelerator

WriteModel = Callable[..., Path]
Rasters = dict[Sensor, NDArray[Any]]

PLACE = Affine(10, 0, 600000, 0, -10, 5300000)
SEGMENTER = {"task": "segmentation", "head": "swin_unet"}
HALF_STEP = 0.5 / 250 + 1e-4
"""Rounding of a probability in the files."""


def write_scene(folder: Path, rasters: Rasters, transform: Affine = PLACE) -> list[str]:
    """Return the options that name the files; 0 of Sentinel-2 is no data."""
    options = []
    for sensor, bands in rasters.items():
        path, nodata = folder / f"{sensor}.tif", 0 if sensor == "s2" else None
        write_raster(path, bands, crs="EPSG:32633", transform=transform, nodata=nodata)
        options += [f"--{sensor}", str(path)]
    return options


def landscape(height: int, width: int) -> Rasters:
    """Draw hills of a few pixels in every band."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[:height, :width]
    waves = np.stack(
        [np.sin(rows / p + q) + np.cos(cols / q) for p, q in rng.uniform(2, 9, (6, 2))]
    )
    s1 = -15 + 3 * waves[:2] + rng.normal(size=(2, height, width))
    s2 = 1800 + 500 * waves[2:] + 100 * rng.normal(size=(4, height, width))
    return {"s1": s1.astype(np.float32), "s2": s2.round().clip(1, 9000).astype(np.uint16)}


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as raster:
        bands: NDArray[Any] = raster.read()
    return bands


def read_shares(folder: Path, kind: str = "probabilities") -> NDArray[np.float64]:
    return np.asarray(read(folder / f"map_{kind}.tif") / 250)


def bare(model: Model, rasters: Rasters) -> NDArray[np.float32]:
    """Predict probabilities (C, H, W) of a scene in one piece."""
    stored = {
        sensor: torch.from_numpy(spec.modality.encode(rasters[sensor].astype(float)))[None]
        for sensor, spec in model.inputs.items()
    }
    with torch.no_grad():
        shares: NDArray[np.float32] = model(stored).softmax(1)[0].numpy()
    return shares


def slices(tile: Tile) -> tuple[slice, slice]:
    return slice(tile.row, tile.row + tile.height), slice(tile.col, tile.col + tile.width)


def predict(file: Path, options: list[str], out: Path, *more: str) -> int:
    return main(["predict", str(file), *options, "-o", str(out), *more])


def blended(
    file: Path, options: list[str], tiling: Tiling, seen: list[int] | None = None
) -> NDArray[np.float32]:
    """Predict probabilities (C, H, W) in tiles, before rounding; `seen` gets the batch sizes."""
    model, spec = load_finetuned(file)
    if seen is not None:
        model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0]["s2"])))
    images: dict[Sensor, Image] = {"s1": Image(options[1]), "s2": Image(options[3])}
    shares = np.zeros((3, tiling.height, tiling.width), np.float32)
    task, device = spec.learning, accelerator("no")
    with open_scene(images, model.inputs) as scene:
        for block in predict_blocks(model, task, 3, scene, Layout(1, tiling), device):
            rows, cols = slices(block.tile)
            shares[:, rows, cols] = block.probabilities.cpu().numpy()
    return shares


@pytest.fixture
def segmenter(write_model: WriteModel, mixed_store: PatchStore) -> Path:
    return write_model(mixed_store, **SEGMENTER)


def test_map_of_one_tile(segmenter: Path, tmp_path: Path) -> None:
    rasters, out = landscape(37, 45), tmp_path / "map.tif"
    assert predict(segmenter, write_scene(tmp_path, rasters), out, "--probabilities") == 0
    expected = bare(load_finetuned(segmenter)[0], rasters)
    np.testing.assert_allclose(read_shares(tmp_path), expected, atol=HALF_STEP)
    best = np.sort(expected, axis=0)
    sure = best[-1] - best[-2] > 1e-4
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(read(out)[0][sure], expected.argmax(0)[sure] + 1)
    confidence, entropy = read_shares(tmp_path, "confidence")
    np.testing.assert_allclose(confidence, expected.max(0), atol=HALF_STEP)
    nats = -(expected * np.log(expected)).sum(0)
    np.testing.assert_allclose(entropy, nats / np.log(3), atol=HALF_STEP)


def test_map_georeference_and_colours(segmenter: Path, tmp_path: Path) -> None:
    transform = PLACE @ Affine.translation(0.37, 1 / 3)
    out = tmp_path / "map.tif"
    assert predict(segmenter, write_scene(tmp_path, landscape(600, 530), transform), out) == 0
    _, header = load_weights(segmenter)
    for name in ("map.tif", "map_confidence.tif"):
        assert cog_validate(tmp_path / name) == (True, [], [])
        with rasterio.open(tmp_path / name) as raster:
            assert (raster.transform, raster.crs.to_epsg()) == (transform, 32633)
            assert raster.shape == (600, 530)
            assert raster.overviews(1)
            tags = raster.tags()
            assert tags["MODEL"] == segmenter.name
            assert tags["MODEL_SHA256"] == file_sha256(segmenter)
            assert json.loads(tags["INPUTS"]) == header["inputs"]
            assert json.loads(tags["CLASSES"]) == header["classes"]
    with rasterio.open(out) as raster:
        assert (raster.count, raster.nodata, raster.dtypes) == (1, 0, ("uint8",))
        colours = raster.colormap(1)
        for value, name in enumerate(header["classes"], start=1):
            assert "#{:02x}{:02x}{:02x}".format(*colours[value]) == header["palette"][name]
        assert colours[0][3] == 0
    # rasterio cannot read names of values, but GDAL's own description of the file has them
    rasterio.shutil.copy(out, tmp_path / "map.vrt", driver="VRT")
    names = "".join(f"<Category>{name}</Category>" for name in ("no data", *header["classes"]))
    lines = (tmp_path / "map.vrt").read_text().splitlines()
    assert names in "".join(line.strip() for line in lines)
    with rasterio.open(tmp_path / "map_confidence.tif") as raster:
        assert raster.descriptions == ("confidence", "entropy")
        assert raster.scales == pytest.approx((0.004, 0.004))
        assert raster.nodata == 255


@pytest.mark.parametrize(
    ("name", "stated", "options", "note"),
    [
        ("s2.tif", -1000, (), "the offset that the header states is taken off, as in training"),
        (
            "S2A_MSIL2A_20230601T101559_N0510_R022_T33UUP.tif",
            0,
            (),
            "the offset that the product states",
        ),
        ("s2.tif", 0, ("--s2-offset", "-1000"), ""),
    ],
    ids=["header", "product", "option"],
)
def test_offset_changes_no_map(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], name: str, stated: int, options: tuple[str, ...], note: str,
) -> None:  # fmt: skip
    specs = {s: replace(spec, with_offset=False) for s, spec in mixed_store.specs.items()}
    model, rasters = write_model(mixed_store, inputs=specs, **SEGMENTER), landscape(37, 45)
    without = write_scene(tmp_path, rasters)
    assert predict(model, without, tmp_path / "without.tif") == 0
    path = tmp_path / name
    shifted = rasters["s2"] + np.uint16(1000)
    write_raster(path, shifted, crs="EPSG:32633", transform=PLACE, nodata=0)
    if stated:
        with rasterio.open(path, "r+") as raster:
            raster.scales, raster.offsets = (1,) * 4, (stated,) * 4
    capsys.readouterr()
    with_offset = [*without[:2], "--s2", str(path), *options]
    assert predict(model, with_offset, tmp_path / "with.tif") == 0
    assert note in capsys.readouterr().err
    for kind in ("", "_confidence"):
        one, other = (read(tmp_path / f"{each}{kind}.tif") for each in ("without", "with"))
        np.testing.assert_array_equal(one, other)


def test_tiles_leave_no_seams(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path
) -> None:
    """Across the edges of tiles predictions change about as much as in a scene of one piece.

    Weights are random, so tiles differ: by half at most, in the mean of three. Without overlap the
    change is several times as large. A U-Net, because the small Swin sees no further than its
    windows, and a wide one, whose coarse maps say more.
    """
    options = write_scene(tmp_path, landscape(96, 224))
    wide = Architecture("resnet10t", {"channels": [8, 8, 16, 512]})

    def step(file: Path, side: int, overlap: int, edge: int) -> float:
        shares = blended(file, options, Tiling(96, 224, side, overlap))
        return float(np.abs(np.diff(shares, axis=2)).max(0)[:, edge - 1].mean())

    chosen = {"task": "segmentation", "head": "unet", "fusion": "early", "architecture": wide}
    files = [write_model(mixed_store, f"seed{seed}", seed=seed, **chosen) for seed in range(3)]
    blend, cut = (
        np.mean([step(file, 128, overlap, 128) / step(file, 224, 0, 128) for file in files])
        for overlap in (32, 0)
    )
    assert blend < 1.5
    assert cut > 3


def test_tiles_of_whole_windows(segmenter: Path, tmp_path: Path) -> None:
    """The small Swin of one block per stage sees no further than its windows."""
    options = write_scene(tmp_path, landscape(96, 224))
    whole, tiles = (blended(segmenter, options, Tiling(96, 224, side, 0)) for side in (224, 128))
    assert whole.std() > 0.05
    np.testing.assert_allclose(tiles, whole, atol=1e-6)


def test_empty_tiles_are_not_predicted(segmenter: Path, tmp_path: Path) -> None:
    rasters, seen = landscape(150, 70), list[int]()
    rasters["s2"][:, :101] = 0
    tiling = Tiling(150, 70, 64, 16)
    shares = blended(segmenter, write_scene(tmp_path, rasters), tiling, seen)
    empty = [tile for tile in tiling if tile.row + tile.height <= 101]
    assert empty
    assert sum(seen) == len(tiling) - len(empty)
    model, _ = load_finetuned(segmenter)
    rasters["s2"] = np.where(rasters["s2"] == 0, np.nan, rasters["s2"])
    expected, blend = np.zeros_like(shares), Blend(tiling)
    for tile in tiling:
        rows, cols = slices(tile)
        part: Rasters = {sensor: bands[:, rows, cols] for sensor, bands in rasters.items()}
        final, values = blend.add(tile, torch.from_numpy(bare(model, part)))
        rows, cols = slices(final)
        expected[:, rows, cols] = values
    np.testing.assert_allclose(shares[:, 101:], expected[:, 101:], atol=1e-5)


@pytest.mark.parametrize(
    ("head", "fusion"),
    [
        ("swin_unet", "late"),
        ("unet", "early"),
        ("unet", "scales"),
        ("upernet", "late"),
        ("linear", "late"),
    ],
)
def test_map_of_a_crop(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path, head: str, fusion: str
) -> None:
    """The crop of the map, except for tiles at the new edge.

    Not to the byte: a crop's batches may hold fewer tiles, and some processors then round the last
    bit in another way.
    """
    file = write_model(mixed_store, task="segmentation", head=head, fusion=fusion)
    model, spec = load_finetuned(file)
    rasters, tile, shares = landscape(150, 170), 64, []
    for top, left in ((0, 0), (1, 1), (17, 40), (48, 37)):
        folder = tmp_path / f"{top}"
        folder.mkdir()
        crop: Rasters = {sensor: bands[:, top:, left:] for sensor, bands in rasters.items()}
        place = PLACE @ Affine.translation(left, top)
        options = write_scene(folder, crop, place)
        assert predict(file, options, folder / "map.tif", "--tile", str(tile)) == 0
        grid = Grid(CRS.from_epsg(32633), place, 150 - top, 170 - left)
        of_crop = blended(file, options, lay_out(model, spec, grid, tile, None).tiling)
        confidence = read_shares(folder, "confidence")[0]
        np.testing.assert_allclose(confidence, of_crop.max(0), atol=HALF_STEP)
        best = np.sort(of_crop, axis=0)
        sure = best[-1] - best[-2] > 1e-4
        np.testing.assert_array_equal(
            read(folder / "map.tif")[0][sure], of_crop.argmax(0)[sure] + 1
        )
        shares.append(of_crop[:, 48 + tile - top :, 40 + tile - left :])
    assert shares[0].shape == (3, 38, 66)
    assert shares[0].max(0).std() > 0.02
    for other in shares[1:]:
        np.testing.assert_allclose(other, shares[0], atol=1e-5)


@pytest.mark.parametrize(("multiple", "side"), [(1, 512), (224, 448), (96, 480), (1000, 1000)])
def test_side_of_tiles(segmenter: Path, multiple: int, side: int) -> None:
    model, spec = load_finetuned(segmenter)
    model.tile_multiple = multiple
    grid = Grid(None, Affine.identity(), 600, 600)
    assert lay_out(model, spec, grid, None, None).tiling.side == side


@pytest.mark.parametrize("changed", [{"scaling": "crop_maximum"}, {"resize": 32}], ids=str)
def test_tiles_keep_training_scale(
    segmenter: Path, tmp_path: Path, changed: dict[str, object]
) -> None:
    tensors, header = load_weights(segmenter)
    for fields in header["inputs"].values():
        fields |= changed
    save_weights(tmp_path / "crop.safetensors", tensors, header)
    options = write_scene(tmp_path, landscape(40, 40))
    default, named = tmp_path / "a.tif", tmp_path / "b.tif"
    assert predict(tmp_path / "crop.safetensors", options, default) == 0
    options += ["--tile", "16", "--overlap", "8"]  # the side of the training patches
    assert predict(tmp_path / "crop.safetensors", options, named) == 0
    np.testing.assert_array_equal(read(default), read(named))


def test_map_keeps_missing_pixels(segmenter: Path, tmp_path: Path) -> None:
    rasters, out = landscape(60, 50), tmp_path / "map.tif"
    rasters["s2"][:, :20, 30:] = 0
    rasters["s1"][:, 40:, :10] = np.nan
    rasters["s1"][0, 50:, 40:] = np.nan  # one band is enough, as in the patch store
    assert predict(segmenter, write_scene(tmp_path, rasters), out, "--probabilities") == 0
    void = np.zeros((60, 50), dtype=bool)
    void[:20, 30:] = void[40:, :10] = void[50:, 40:] = True
    np.testing.assert_array_equal(read(out)[0] == 0, void)
    for name in ("map_confidence.tif", "map_probabilities.tif"):
        for band in read(tmp_path / name):
            np.testing.assert_array_equal(band == 255, void)


def test_map_of_one_sensor(
    segmenter: Path, write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    rasters, out = landscape(30, 30), tmp_path / "map.tif"
    options = write_scene(tmp_path, rasters)
    for sensor, one in zip(SENSORS, (options[:2], options[2:]), strict=True):
        assert predict(segmenter, one, out, "--probabilities", "--overwrite") == 2
        assert "or --allow-missing-sensor to map without it" in capsys.readouterr().err
        more = ("--probabilities", "--overwrite", "--allow-missing-sensor")
        assert predict(segmenter, one, out, *more) == 0
        assert "the model sees its mean everywhere" in capsys.readouterr().err
        with rasterio.open(out) as made:
            assert made.tags()["SENSORS"] == sensor
        void: Rasters = {
            s: b.astype(float) * (1 if s == sensor else np.nan) for s, b in rasters.items()
        }
        expected = bare(load_finetuned(segmenter)[0], void)
        np.testing.assert_allclose(read_shares(tmp_path), expected, atol=HALF_STEP)
    unet = write_model(mixed_store, "unet", task="segmentation", head="unet", fusion="early")
    single = write_model(mixed_store, "s2", fusion="s2")
    for file, some, message in (
        (unet, options[2:], "cannot do without s1"),
        (single, options, "leave out --s1"),
        (single, [], "there is no image"),
    ):
        assert predict(file, some, tmp_path / "other.tif") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "other.tif").exists()


@pytest.mark.slow  # MLflow creates a database
def test_score_of_one_sensor_is_stated(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By the run of these weights; those of other weights say nothing about them."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    options, unknown = write_scene(tmp_path, landscape(20, 20)), "nothing is known about its score"

    def warned(sensor: Sensor, message: str) -> None:
        one = options[:2] if sensor == "s1" else options[2:]
        for more, code in (((), 2), (("--allow-missing-sensor",), 0)):
            assert predict(segmenter, one, tmp_path / "map.tif", "--overwrite", *more) == code
            assert message in capsys.readouterr().err

    def scored(digest: str) -> None:
        with Tracker("evaluate").start("a", {}, {WEIGHTS_TAG: digest}) as run:
            run.log({"test.mIoU": 0.62, "test.s1.mIoU": 0.18, "test.s2.mIoU": 0.41})

    warned("s1", f"{unknown} with s1 alone")
    assert not (tmp_path / "mlflow.db").exists()
    scored("0" * 64)
    warned("s2", f"{unknown} with s2 alone")
    scored(file_sha256(segmenter))
    warned("s1", "the mIoU is 0.62 with all sensors, 0.18 with s1 alone")
    warned("s2", "the mIoU is 0.62 with all sensors, 0.41 with s2 alone")


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_map_by_a_classifier(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path, head: str
) -> None:
    file = write_model(mixed_store, head=head)
    rasters, out = landscape(55, 70), tmp_path / "map.tif"
    rasters["s2"][:, :16, 16:25] = 0  # more than half of a patch
    rasters["s2"][:, :16, 32:39] = 0  # less
    assert predict(file, write_scene(tmp_path, rasters), out, "--probabilities") == 0
    with rasterio.open(out) as raster:
        assert raster.shape == (4, 5)  # 16 px per patch, the last ones reach beyond the scene
        assert raster.transform == PLACE @ Affine.scale(16)
        classes = raster.read(1)
    assert cog_validate(out)[0]
    # the last row has 7 of 16 pixels, the last column 6: under half
    expected = np.ones((4, 5), dtype=bool)
    expected[0, 1] = expected[3] = expected[:, 4] = False
    np.testing.assert_array_equal(classes > 0, expected)
    rasters["s2"] = np.where(rasters["s2"] == 0, np.nan, rasters["s2"])
    shares, (model, _) = read_shares(tmp_path), load_finetuned(file)
    for row, col in np.argwhere(expected):
        crop: Rasters = {s: b[:, 16 * row :, 16 * col :][:, :16, :16] for s, b in rasters.items()}
        np.testing.assert_allclose(shares[:, row, col], bare(model, crop), atol=0.5 / 250 + 1e-3)


def test_map_of_several_labels(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path
) -> None:
    file = write_model(mixed_store, task="multi_label")
    options = write_scene(tmp_path, landscape(32, 32))
    assert predict(file, options, tmp_path / "map.tif", "--probabilities") == 0
    shares = read_shares(tmp_path).clip(1e-6, 1 - 1e-6)
    assert np.abs(shares.sum(0) - 1).max() > 0.05
    confidence, entropy = read_shares(tmp_path, "confidence")
    np.testing.assert_allclose(confidence, shares.max(0), atol=1 / 250)
    bits = -(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).mean(0)
    np.testing.assert_allclose(entropy, bits, atol=0.02)


def test_map_is_reproducible(segmenter: Path, tmp_path: Path) -> None:
    options = write_scene(tmp_path, landscape(40, 40))
    folder, files = tmp_path / "new", ["map.tif", "map.tif.aux.xml", "map_confidence.tif"]
    written = []
    for _ in range(2):
        assert predict(segmenter, options, folder / "map.tif", "--overwrite") == 0
        assert sorted(path.name for path in folder.iterdir()) == files
        written.append([(folder / name).read_bytes() for name in files])
    assert written[0] == written[1]


@pytest.mark.parametrize("existing", ["map.tif", "map_confidence.tif"])
def test_existing_files_are_kept(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], existing: str
) -> None:
    options = write_scene(tmp_path, landscape(20, 20))
    (tmp_path / existing).write_text("mine")
    assert predict(segmenter, options, tmp_path / "map.tif") == 2
    assert existing in capsys.readouterr().err
    assert (tmp_path / existing).read_text() == "mine"
    assert predict(segmenter, options, tmp_path / "map.tif", "--overwrite") == 0
    assert cog_validate(tmp_path / existing)[0]


def test_mistakes_write_nothing(
    segmenter: Path, tiny_inits: dict[str, Path], write_model: WriteModel,
    mixed_store: PatchStore, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options, out = write_scene(tmp_path, landscape(40, 40)), tmp_path / "map.tif"
    linear = write_model(mixed_store, "linear")
    for file, more, message in (
        (segmenter, [*options, "--s2-bands", "B02", "B03", "B04", "B05"], "has no band B08"),
        (segmenter, [*options, "--s2-units", "dB"], "expect DN"),
        (segmenter, [*options, "--s1-units", "linear"], "looks like dB"),
        (
            segmenter,
            ["--s1", options[3], "--s2", options[1]],
            "in the order of the file by --s1-bands",
        ),
        (segmenter, [*options, "--overlap", "300"], "cannot overlap"),
        (segmenter, ["--s1-units", "dB"], "describe --s1"),
        (linear, [*options, "--overlap", "4"], "no --overlap"),
        (tiny_inits["dual_simclr"], options, "holds no fine-tuned model"),
    ):
        assert predict(file, more, out) == 2
        printed = capsys.readouterr()
        assert message in printed.err
        # notes on what is assumed about a scene come first
        *notes, last = printed.err.splitlines()
        assert last.startswith("eocontrast predict: ")
        assert all(note.startswith("note: ") for note in notes)
    assert predict(segmenter, options, tmp_path / "map.png") == 2
    assert "not the name of a GeoTIFF" in capsys.readouterr().err
    assert {path.suffix for path in tmp_path.iterdir()} == {".tif", ".safetensors"}
    assert not out.exists()


def test_failed_write_ends_at_once(
    segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = write_scene(tmp_path, landscape(40, 400))

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Blend, "add", full)
    threads, before = set(threading.enumerate()), torch.get_num_threads()
    with pytest.raises(OSError, match="no space left"):
        predict(segmenter, options, tmp_path / "map.tif", "--tile", "40")
    assert set(threading.enumerate()) <= threads  # those of other tests may have ended
    assert torch.get_num_threads() == before
    assert not list(tmp_path.glob("*map*"))


def test_truncated_scene_leaves_no_map(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = write_scene(tmp_path, landscape(600, 600))
    content = Path(options[3]).read_bytes()
    Path(options[3]).write_bytes(content[: len(content) - 4 * 600])  # the last half row
    assert predict(segmenter, options, tmp_path / "map.tif") == 2
    assert "truncated" in capsys.readouterr().err
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model.safetensors", "s1.tif", "s2.tif"]


def test_polygons_cover_the_map(
    tmp_path: Path, mixed_store: PatchStore, write_model: WriteModel
) -> None:
    file, options = write_model(mixed_store, **SEGMENTER), write_scene(tmp_path, landscape(40, 56))
    out = tmp_path / "map.gpkg"
    assert predict(file, options, tmp_path / "map.tif", "--polygons", str(out)) == 0
    frame, classes = geopandas.read_file(out), read(tmp_path / "map.tif")[0]
    for index, name in enumerate(mixed_store.classes, start=1):
        assert frame.pixels[frame["class"] == name].sum() == (classes == index).sum()
    assert frame.area_m2.sum() == 100 * (classes > 0).sum()
    assert predict(file, options, tmp_path / "b.tif", "--sieve", "3") == 2
