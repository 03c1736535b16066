"""Whole scenes to maps: what is on disk afterwards is what the model says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from affine import Affine
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate
from torch import Tensor

from eocontrast.cli.main import main
from eocontrast.mapping import predict as mapping
from eocontrast.mapping import windows
from eocontrast.mapping.predict import Layout, lay_out, predict_blocks
from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.mapping.tiles import Blend, Tiling
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.finetuned import load_finetuned
from eocontrast.models.model import Model
from eocontrast.models.tasks import TASKS, Task
from eocontrast.models.weights import load_weights, save_weights
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.grids import Grid
from eocontrast.runtime.files import file_sha256
from eocontrast.training.devices import accelerator

WriteModel = Callable[..., Path]
Rasters = dict[str, NDArray[Any]]

PLACE = Affine(10, 0, 600000, 0, -10, 5300000)
SEGMENTER = {"task": "segmentation", "head": "swin_unet"}


def write_scene(folder: Path, rasters: Rasters, place: Affine = PLACE) -> list[str]:
    """The options that name rasters by sensor; 0 of Sentinel-2 is no data."""
    options = []
    for sensor, bands in rasters.items():
        path = folder / f"{sensor}.tif"
        shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
        nodata = 0 if sensor == "s2" else None
        where: dict[str, Any] = {"crs": "EPSG:32633", "transform": place, "nodata": nodata}
        with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, **shape, **where) as out:
            out.write(bands)
        options += [f"--{sensor}", str(path)]
    return options


def landscape(height: int, width: int) -> Rasters:
    """Hills of a few pixels in every band."""
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


def bare(file: Path, rasters: Rasters) -> NDArray[np.float32]:
    """Probabilities (C, H, W) of a scene in one piece."""
    model, _ = load_finetuned(file)
    stored = {
        sensor: torch.from_numpy(spec.modality.encode(rasters[sensor].astype(float)))[None]
        for sensor, spec in model.inputs.items()
    }
    with torch.no_grad():
        found: NDArray[np.float32] = model(stored).softmax(1)[0].numpy()
    return found


def predict(file: Path, options: list[str], out: Path, *more: str) -> int:
    return main(["predict", str(file), *options, "-o", str(out), *more])


@pytest.fixture
def segmenter(write_model: WriteModel, mixed_store: PatchStore) -> Path:
    return write_model(mixed_store, **SEGMENTER)


def test_a_scene_in_one_tile_is_what_the_bare_model_says(segmenter: Path, tmp_path: Path) -> None:
    rasters, out = landscape(37, 45), tmp_path / "map.tif"
    assert predict(segmenter, write_scene(tmp_path, rasters), out, "--probabilities") == 0
    expected = bare(segmenter, rasters)
    shares = read(tmp_path / "map_probabilities.tif") / 250
    np.testing.assert_allclose(shares, expected, atol=0.5 / 250 + 1e-4)
    best = np.sort(expected, axis=0)
    sure = best[-1] - best[-2] > 1e-4
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(read(out)[0][sure], expected.argmax(0)[sure] + 1)
    confidence, entropy = read(tmp_path / "map_confidence.tif") / 250
    np.testing.assert_allclose(confidence, expected.max(0), atol=0.5 / 250 + 1e-4)
    nats = -(expected * np.log(expected)).sum(0)
    np.testing.assert_allclose(entropy, nats / np.log(3), atol=0.5 / 250 + 1e-4)


def test_a_map_lies_where_the_scene_does_and_qgis_finds_its_colours(
    segmenter: Path, tmp_path: Path
) -> None:
    place = PLACE @ Affine.translation(0.37, 1 / 3)
    out = tmp_path / "map.tif"
    assert predict(segmenter, write_scene(tmp_path, landscape(600, 530), place), out) == 0
    _, header = load_weights(segmenter)
    for name in ("map.tif", "map_confidence.tif"):
        valid, errors, warnings = cog_validate(tmp_path / name)
        assert (valid, errors, warnings) == (True, [], [])
        with rasterio.open(tmp_path / name) as raster:
            assert (raster.transform, raster.crs.to_epsg()) == (place, 32633)
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
    # rasterio has no word for names of values: GDAL's own description of the file has them
    rasterio.shutil.copy(out, tmp_path / "map.vrt", driver="VRT")
    described = (tmp_path / "map.vrt").read_text()
    names = "".join(f"<Category>{name}</Category>" for name in ("no data", *header["classes"]))
    assert names in "".join(line.strip() for line in described.splitlines())
    with rasterio.open(tmp_path / "map_confidence.tif") as raster:
        assert raster.descriptions == ("confidence", "entropy")
        assert raster.scales == pytest.approx((0.004, 0.004))
        assert raster.nodata == 255


def shares_of(file: Path, options: list[str], side: int, overlap: int) -> NDArray[np.float32]:
    """Probabilities (C, H, W) of a scene in tiles, before they are rounded."""
    model, header = load_finetuned(file)
    images: dict[Sensor, Image] = {"s1": Image(options[1]), "s2": Image(options[3])}
    with open_scene(images, model.inputs) as scene:
        tiling = Tiling(scene.grid.height, scene.grid.width, side, overlap)
        out = np.zeros((3, tiling.height, tiling.width), np.float32)
        task, device = TASKS[header["task"]], accelerator("no")
        for block in predict_blocks(model, task, 3, scene, Layout(1, tiling), device):
            place = block.tile
            rows, cols = slice(place.row, place.row + place.height), slice(place.col, None)
            out[:, rows, cols][:, :, : place.width] = block.probabilities.cpu().numpy()
    return out


HEADS = [("swin_unet", "late"), ("unet", "early")]


def test_there_is_no_step_where_tiles_meet(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path
) -> None:
    """Across the edges of tiles answers change as they do there in a scene of one piece.

    Within a quarter: weights are random, so a model says other things of other tiles. Without
    overlap they change by half as much again where one tile ends. A U-Net, because the small Swin
    of one block a stage sees no further than its windows, which meet there.
    """
    file = write_model(mixed_store, task="segmentation", head="unet", fusion="early")
    options = write_scene(tmp_path, landscape(96, 224))

    def steps(side: int, overlap: int, edges: list[int]) -> float:
        shares = shares_of(file, options, side, overlap)
        return float(np.abs(np.diff(shares, axis=2)).max(0)[:, np.array(edges) - 1].mean())

    assert steps(128, 32, [96, 128]) < 1.25 * steps(224, 0, [96, 128])
    assert steps(128, 0, [128]) > 1.5 * steps(224, 0, [128])


def test_windows_that_meet_at_the_edges_of_tiles_need_no_overlap(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path
) -> None:
    """The small Swin of one block a stage sees no further than its windows."""
    file = write_model(mixed_store, task="segmentation", head="swin_unet", fusion="late")
    options = write_scene(tmp_path, landscape(96, 224))
    whole, tiles = (shares_of(file, options, side, 0) for side in (224, 128))
    assert whole.std() > 0.05
    np.testing.assert_allclose(tiles, whole, atol=1e-6)


def test_tiles_without_data_are_not_asked_and_change_nothing(
    segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scene whose left two thirds the swath has missed, against all tiles one by one."""
    rasters, side, overlap = landscape(70, 150), 64, 16
    rasters["s2"][:, :, :101] = 0
    options, out = write_scene(tmp_path, rasters), tmp_path / "map.tif"
    asked: list[Tensor] = []

    def counted(model: Model, task: Task, batch: Batch, *more: Any) -> Tensor:  # noqa: ANN401
        asked.extend(batch["s2"])
        return answers(model, task, batch, *more)

    model, header = load_finetuned(segmenter)
    task, device, answers = TASKS[header["task"]], accelerator("auto"), mapping._probabilities
    images: dict[Sensor, Image] = {"s1": Image(options[1]), "s2": Image(options[3])}
    expected = np.zeros((3, 70, 150), np.float32)
    with open_scene(images, model.inputs) as scene:
        tiling = lay_out(model, header, scene.grid, side, overlap).tiling
        blend, tiles = Blend(tiling), list(tiling)
        for tile in tiles:
            said = answers(model, task, windows.read_windows(scene, 1, [tile]).batch, 1, device)
            place, final = blend.add(tile, said[0])
            lines = slice(place.row, place.row + place.height)
            expected[:, lines, place.col : place.col + place.width] = final.numpy()
    monkeypatch.setattr(mapping, "_probabilities", counted)
    monkeypatch.setattr(windows, "PIXELS", side**2)  # one tile a batch, as those of 512 px are
    shape = ["--tile", str(side), "--overlap", str(overlap), "--probabilities"]
    assert predict(segmenter, options, out, *shape) == 0
    empty = [tile for tile in tiles if tile.col + tile.width <= 101]
    assert empty
    assert len(asked) == len(tiles) - len(empty)
    drawn = read(tmp_path / "map_probabilities.tif")
    np.testing.assert_array_equal(drawn[:, :, :101], 255)
    np.testing.assert_allclose(drawn[:, :, 101:] / 250, expected[:, :, 101:], atol=0.501 / 250)


@pytest.mark.parametrize(("head", "fusion"), HEADS)
def test_the_map_of_a_crop_is_the_crop_of_the_map(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path, head: str, fusion: str
) -> None:
    """To the byte, whatever is cut off, but for the tiles that lie at the new edge."""
    file = write_model(mixed_store, task="segmentation", head=head, fusion=fusion)
    rasters, tile, maps = landscape(150, 170), 64, []
    for top, left in ((0, 0), (1, 1), (17, 40), (48, 37)):
        folder = tmp_path / f"{top}"
        folder.mkdir()
        crop = {sensor: bands[:, top:, left:] for sensor, bands in rasters.items()}
        options = write_scene(folder, crop, PLACE @ Affine.translation(left, top))
        assert predict(file, options, folder / "map.tif", "--tile", str(tile)) == 0
        drawn = np.concatenate([read(folder / name) for name in ("map.tif", "map_confidence.tif")])
        maps.append(drawn[:, 48 + tile - top :, 40 + tile - left :])
    assert maps[0].shape == (3, 38, 66)
    assert maps[0][1].std() > 5
    for of_crop in maps[1:]:
        np.testing.assert_array_equal(of_crop, maps[0])


def test_tiles_are_whole_windows(write_model: WriteModel, mixed_store: PatchStore) -> None:
    file = write_model(mixed_store, **SEGMENTER)
    model, header = load_finetuned(file)
    grid = Grid(None, Affine.identity(), 600, 600)
    assert lay_out(model, header, grid, None, None).tiling.side == 512
    for multiple, side in ((224, 448), (96, 480), (1000, 1000)):
        model.tile_multiple = multiple
        assert lay_out(model, header, grid, None, None).tiling.side == side


def test_no_data_is_kept(segmenter: Path, tmp_path: Path) -> None:
    rasters, out = landscape(60, 50), tmp_path / "map.tif"
    rasters["s2"][:, :20, 30:] = 0
    rasters["s1"][:, 40:, :10] = np.nan
    rasters["s1"][0, 50:, 40:] = np.nan  # one band alone is enough
    assert predict(segmenter, write_scene(tmp_path, rasters), out, "--probabilities") == 0
    void = np.zeros((60, 50), dtype=bool)
    void[:20, 30:] = void[40:, :10] = void[50:, 40:] = True
    np.testing.assert_array_equal(read(out)[0] == 0, void)
    for name in ("map_confidence.tif", "map_probabilities.tif"):
        for band in read(tmp_path / name):
            np.testing.assert_array_equal(band == 255, void)


def test_a_sensor_may_lack_where_there_is_a_backbone_for_each(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    segmenter = write_model(mixed_store, **SEGMENTER)
    rasters, out = landscape(30, 30), tmp_path / "map.tif"
    options = write_scene(tmp_path, rasters)
    for sensor, given in zip(SENSORS, (options[:2], options[2:]), strict=True):
        assert predict(segmenter, given, out, "--probabilities", "--overwrite") == 0
        void = {s: b.astype(float) * (1 if s == sensor else np.nan) for s, b in rasters.items()}
        shares = read(tmp_path / "map_probabilities.tif") / 250
        np.testing.assert_allclose(shares, bare(segmenter, void), atol=0.5 / 250 + 1e-4)
    unet = write_model(mixed_store, "unet", task="segmentation", head="unet", fusion="early")
    single = write_model(mixed_store, "s2", fusion="s2")
    for file, given, says in (
        (unet, options[2:], "cannot do without s1"),
        (single, options, "leave out --s1"),
        (single, [], "there is no image"),
    ):
        assert predict(file, given, tmp_path / "other.tif") == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "other.tif").exists()


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_a_classifier_draws_a_pixel_a_patch(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path, head: str
) -> None:
    file = write_model(mixed_store, head=head)
    rasters, out = landscape(55, 70), tmp_path / "map.tif"
    rasters["s2"][:, :16, 16:25] = 0  # more than half of a patch
    rasters["s2"][:, :16, 32:39] = 0  # less
    assert predict(file, write_scene(tmp_path, rasters), out, "--probabilities") == 0
    with rasterio.open(out) as raster:
        assert raster.shape == (4, 5)  # 16 px a patch, the last ones reach beyond the scene
        assert raster.transform == PLACE @ Affine.scale(16)
        classes = raster.read(1)
    assert cog_validate(out)[0]
    # of the last row 7 of 16 are there, of the last column 6: under half
    expected = np.ones((4, 5), dtype=bool)
    expected[0, 1] = expected[3] = expected[:, 4] = False
    np.testing.assert_array_equal(classes > 0, expected)
    void = {"s1": rasters["s1"], "s2": np.where(rasters["s2"] == 0, np.nan, rasters["s2"])}
    shares = read(tmp_path / "map_probabilities.tif") / 250
    for row, col in np.argwhere(expected):
        crop = {s: b[:, 16 * row :, 16 * col :][:, :16, :16] for s, b in void.items()}
        np.testing.assert_allclose(shares[:, row, col], bare(file, crop), atol=0.5 / 250 + 1e-3)


def test_several_labels_a_patch_are_sure_one_by_one(
    write_model: WriteModel, mixed_store: PatchStore, tmp_path: Path
) -> None:
    file = write_model(mixed_store, task="multi_label")
    options = write_scene(tmp_path, landscape(32, 32))
    assert predict(file, options, tmp_path / "map.tif", "--probabilities") == 0
    shares = (read(tmp_path / "map_probabilities.tif") / 250).clip(1e-6, 1 - 1e-6)
    assert np.abs(shares.sum(0) - 1).max() > 0.05
    confidence, entropy = read(tmp_path / "map_confidence.tif") / 250
    np.testing.assert_allclose(confidence, shares.max(0), atol=1 / 250)
    bits = -(shares * np.log2(shares) + (1 - shares) * np.log2(1 - shares)).mean(0)
    np.testing.assert_allclose(entropy, bits, atol=0.02)


def test_where_crops_are_scaled_by_their_maximum_tiles_are_as_learnt(
    segmenter: Path, tmp_path: Path
) -> None:
    tensors, header = load_weights(segmenter)
    for fields in header["inputs"].values():
        fields["scaling"] = "crop_maximum"
    save_weights(tmp_path / "crop.safetensors", tensors, header)
    assert InputSpec.from_dict(header["inputs"]["s2"]).patch_size == 16
    options = write_scene(tmp_path, landscape(40, 40))
    by_default, named = tmp_path / "a.tif", tmp_path / "b.tif"
    assert predict(tmp_path / "crop.safetensors", options, by_default) == 0
    asked = (*options, "--tile", "16", "--overlap", "8")
    assert predict(tmp_path / "crop.safetensors", list(asked), named) == 0
    np.testing.assert_array_equal(read(by_default), read(named))


def test_two_runs_give_the_same_bytes_and_leave_nothing_else(
    segmenter: Path, tmp_path: Path
) -> None:
    options = write_scene(tmp_path, landscape(40, 40))
    folder, files = tmp_path / "new", ["map.tif", "map.tif.aux.xml", "map_confidence.tif"]
    written = []
    for _ in range(2):
        assert predict(segmenter, options, folder / "map.tif", "--overwrite") == 0
        assert sorted(path.name for path in folder.iterdir()) == files
        written.append([(folder / name).read_bytes() for name in files])
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("name", "there"), [("map.tif", "map.tif"), ("map.tif", "map_confidence.tif")]
)
def test_what_is_there_is_kept(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, there: str
) -> None:
    options = write_scene(tmp_path, landscape(20, 20))
    (tmp_path / there).write_text("mine")
    assert predict(segmenter, options, tmp_path / name) == 2
    assert f"{there} is there already" in capsys.readouterr().err
    assert (tmp_path / there).read_text() == "mine"
    assert predict(segmenter, options, tmp_path / name, "--overwrite") == 0
    assert cog_validate(tmp_path / there)[0]


def test_a_mistake_is_one_message_and_no_file(
    segmenter: Path, tiny_inits: dict[str, Path], write_model: WriteModel,
    mixed_store: PatchStore, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options, out = write_scene(tmp_path, landscape(40, 40)), tmp_path / "map.tif"
    linear = write_model(mixed_store, "linear")
    for file, more, says in (
        (segmenter, [*options, "--s2-bands", "B02", "B03", "B04", "B05"], "has no band B08"),
        (segmenter, [*options, "--s2-units", "dB"], "expect DN"),
        (segmenter, [*options, "--s1-units", "linear"], "looks like dB"),
        (segmenter, ["--s1", options[3], "--s2", options[1]], "name them by --s1-bands"),
        (segmenter, [*options, "--overlap", "300"], "cannot overlap"),
        (segmenter, ["--s1-units", "dB"], "describe --s1"),
        (linear, [*options, "--overlap", "4"], "no --overlap"),
        (tiny_inits["dual_simclr"], options, "holds no fine-tuned model"),
    ):
        assert predict(file, more, out) == 2
        printed = capsys.readouterr()
        assert says in printed.err
        assert printed.err.startswith("eocontrast predict: ")
        assert printed.err.count("\n") == 1
    assert predict(segmenter, options, tmp_path / "map.png") == 2
    assert "not the name of a GeoTIFF" in capsys.readouterr().err
    left = {path.suffix for path in tmp_path.iterdir()}
    assert left == {".tif", ".safetensors"}
    assert not out.exists()


def test_a_map_that_cannot_be_written_is_left_at_once(
    segmenter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = write_scene(tmp_path, landscape(40, 400))

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Blend, "add", full)
    threads, before = threading.active_count(), torch.get_num_threads()
    with pytest.raises(OSError, match="no space left"):
        predict(segmenter, options, tmp_path / "map.tif", "--tile", "40")
    assert (threading.active_count(), torch.get_num_threads()) == (threads, before)
    assert not list(tmp_path.glob("*map*"))


def test_a_scene_that_breaks_off_leaves_no_map(
    segmenter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = write_scene(tmp_path, landscape(600, 600))
    whole = Path(options[3]).read_bytes()
    Path(options[3]).write_bytes(whole[: len(whole) - 4 * 600])  # the last half row
    assert predict(segmenter, options, tmp_path / "map.tif") == 2
    assert "truncated" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.safetensors",
        "s1.tif",
        "s2.tif",
    ]
