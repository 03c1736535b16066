from __future__ import annotations

import shutil
import time
from collections import namedtuple
from concurrent.futures import BrokenExecutor
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
import rasterio
from pydantic import ValidationError

from eocontrast.config.sources import SimulatedParams
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE, IGBP_TO_DFC
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.source import COLUMNS, SPLITS, Source
from eocontrast.runtime.errors import UserError, resource_error
from eocontrast.sources.simulated import fetch, manifest, plan

TINY = SimulatedParams(
    seed=3,
    patch_size=32,
    scene_size=2,
    labelled_scene_size=2,
    test_patches=0,
    pretrain_scenes=4,
    train_scenes=1,
    test_scenes=2,
)
Simulated = tuple[Path, Source]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    folder = tmp_path_factory.mktemp("simulated")
    return folder, fetch(folder, TINY, workers=1)


def files(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_manifest_names_every_patch_once(simulated: Simulated) -> None:
    folder, source = simulated
    rows = source.manifest
    assert tuple(rows.columns) == COLUMNS
    assert rows["id"].is_unique
    assert rows["split"].value_counts().to_dict() == {"pretrain": 16, "train": 4, "test": 8}
    assert rows.groupby("group")["split"].nunique().eq(1).all()
    assert rows["group"].nunique() == 7
    assert (rows["label"] == "").eq(rows["split"] == "pretrain").all()
    named = {*rows["s1"], *rows["s2"], *rows["label"]} - {""}
    named |= {path.replace("/s1_", "/lc_").replace("_s1_", "_lc_") for path in rows["s1"]}
    assert named == set(files(folder))


def test_labelled_scenes_have_own_size() -> None:
    """A smaller labelled scene leaves unlabelled scenes as they were."""
    small = TINY.model_copy(update={"labelled_scene_size": 1})
    sides = {split: {s.side for s in plan(small) if s.split == split} for split in SPLITS}
    assert sides == {"pretrain": {2}, "train": {1}, "test": {1}}
    rows = manifest(plan(small))
    assert rows["split"].value_counts().to_dict() == {"pretrain": 16, "train": 1, "test": 2}
    unlabelled = [[s for s in plan(p) if s.split == "pretrain"] for p in (TINY, small)]
    assert unlabelled[0] == unlabelled[1]


def test_test_scenes_keep_some_of_their_patches(simulated: Simulated, tmp_path: Path) -> None:
    """Leave the files of those that stay as they are when all of a scene are written."""
    folder, _ = simulated
    fewer = fetch(tmp_path, TINY.model_copy(update={"test_patches": 1}), workers=1).manifest
    assert fewer["split"].value_counts().to_dict() == {"pretrain": 16, "train": 4, "test": 2}
    assert fewer[fewer["split"] == "test"]["group"].is_unique
    before, kept = files(folder), files(tmp_path)
    assert all(before[name] == content for name, content in kept.items())
    assert len(before) - len(kept) == 6 * 4  # rasters of three patches in each of two scenes
    many = plan(TINY.model_copy(update={"test_patches": 1, "test_scenes": 40}))
    assert {s.kept for s in many if s.split == "test"} == {(0,), (1,), (2,), (3,)}


def test_more_patches_than_a_scene_has_are_refused() -> None:
    with pytest.raises(ValidationError, match="test_patches is 5, but a test scene has 4 patches"):
        SimulatedParams.model_validate(TINY.model_dump() | {"test_patches": 5})


def test_source_is_declared(simulated: Simulated) -> None:
    _, source = simulated
    assert source.s1 == SENTINEL1
    assert source.s2 == SENTINEL2_L1C
    assert source.classes == DFC_CLASSES
    assert source.palette == DFC_PALETTE


def test_layout_matches_real_data(simulated: Simulated) -> None:
    folder, _ = simulated
    for path in (
        "ROIs1158_spring/s1_1/ROIs1158_spring_s1_1_p0.tif",
        "ROIs1868_summer/s2_2/ROIs1868_summer_s2_2_p3.tif",
        "ROIs1970_fall/lc_3/ROIs1970_fall_lc_3_p1.tif",
        "ROIs2017_winter/s1_4/ROIs2017_winter_s1_4_p2.tif",
        "ROIs0000_validation/dfc_0/ROIs0000_validation_dfc_0_p0.tif",
        "ROIs0000_test/s2_0/ROIs0000_test_s2_0_p7.tif",
    ):
        assert (folder / path).is_file()


@pytest.mark.parametrize(
    ("kind", "dtype", "bands"),
    [
        ("s1", "float32", SENTINEL1.bands),
        ("s2", "uint16", SENTINEL2_L1C.bands),
        ("lc", "uint8", None),
        ("dfc", "uint8", ("DFC2020",)),
    ],
)
def test_rasters_match_documentation(
    simulated: Simulated, kind: str, dtype: str, bands: tuple[str, ...] | None
) -> None:
    folder, _ = simulated
    paths = sorted(folder.glob(f"*/{kind}_*/*.tif"))
    assert len(paths) == (12 if kind == "dfc" else 28)
    for path in paths:
        with rasterio.open(path) as raster:
            assert (raster.height, raster.width) == (32, 32)
            assert set(raster.dtypes) == {dtype}
            assert raster.count == (4 if bands is None else len(bands))
            if bands:
                assert raster.descriptions == bands
            values = raster.read()
        if kind == "s1":
            assert np.isfinite(values).all()
            assert values.min() > -42
            assert values.max() < 22
        if kind == "s2":
            assert values.min() >= 1
            assert values.max() < 20000
        if kind == "dfc":
            assert set(np.unique(values)) <= set(DFC_CLASSES.values())


def test_patches_touch_within_scenes(simulated: Simulated) -> None:
    folder, source = simulated
    boxes: dict[str, list[tuple[str, rasterio.coords.BoundingBox]]] = {}
    for row in source.manifest.to_dict("records"):
        with rasterio.open(folder / row["s1"]) as one, rasterio.open(folder / row["s2"]) as two:
            assert one.crs == two.crs
            assert one.bounds == two.bounds
            assert one.res == (10.0, 10.0)
            assert one.crs.to_epsg() // 100 in (326, 327)
            boxes.setdefault(row["group"], []).append((str(one.crs), one.bounds))
    hulls = []
    for patches in boxes.values():
        (upper_left, upper_right, lower_left, lower_right) = (box for _, box in patches)
        assert upper_left.right == upper_right.left == lower_left.right
        assert upper_left.bottom == lower_left.top == lower_right.top
        hulls.append((patches[0][0], upper_left.left, upper_left.top))
    for number, (crs, left, top) in enumerate(hulls):
        for other, x, y in hulls[:number]:
            assert crs != other or max(abs(left - x), abs(top - y)) >= 10_000


def test_many_scenes_stay_apart() -> None:
    params = TINY.model_copy(update={"patch_size": 1024, "scene_size": 2, "pretrain_scenes": 300})
    scenes = plan(params)
    corners = [(scene.epsg, *scene.origin) for scene in scenes]
    for epsg in {corner[0] for corner in corners}:
        xy = np.array([corner[1:] for corner in corners if corner[0] == epsg])
        apart = np.abs(xy[:, None] - xy[None]).max(axis=-1)
        assert apart[~np.eye(len(xy), dtype=bool)].min(initial=np.inf) >= 2048 * 10
        # inside the zone, and north of the equator or south of it
        assert xy[:, 0].min() > 200_000
        assert xy[:, 0].max() < 800_000
        assert xy[:, 1].min() > 0
        assert xy[:, 1].max() < 10_000_000


def test_land_cover_agrees_per_pixel(simulated: Simulated) -> None:
    folder, source = simulated
    for path in source.manifest["label"].loc[lambda label: label != ""]:
        with rasterio.open(folder / path) as raster:
            dfc = raster.read(1)
        with rasterio.open(folder / path.replace("/dfc_", "/lc_").replace("_dfc_", "_lc_")) as lc:
            igbp, cover, use, hydrology = lc.read()
        np.testing.assert_array_equal(IGBP_TO_DFC[igbp], dfc)
        for code in (cover, use, hydrology):
            np.testing.assert_array_equal(code == 3, igbp == 17)
        assert ((cover > 10) & (cover < 20) == np.isin(igbp, range(1, 6))).all()


def test_coarse_bands_repeat_pixels(simulated: Simulated) -> None:
    folder, source = simulated
    with rasterio.open(folder / source.manifest["s2"].iloc[0]) as raster:
        values = raster.read()
    for name in ("B05", "B06", "B07", "B8A", "B11", "B12"):
        band = values[SENTINEL2_L1C.bands.index(name)]
        np.testing.assert_array_equal(band, band[::2, ::2].repeat(2, 0).repeat(2, 1))
    for name in ("B01", "B09", "B10"):  # the scene's corner is where its first 60 m pixel starts
        band = values[SENTINEL2_L1C.bands.index(name)][:30, :30]
        np.testing.assert_array_equal(band, band[::6, ::6].repeat(6, 0).repeat(6, 1))
    fine = values[SENTINEL2_L1C.bands.index("B04")]
    assert (fine != fine[::2, ::2].repeat(2, 0).repeat(2, 1)).mean() > 0.5


def test_workers_write_equal_bytes(simulated: Simulated, tmp_path: Path) -> None:
    folder, source = simulated
    again = fetch(tmp_path, TINY, workers=2)
    assert files(tmp_path) == files(folder)
    assert again.manifest.equals(source.manifest)


def kill_a_worker(folder: Path) -> None:
    while not list(folder.rglob("*.tif")):
        time.sleep(0.01)
    workers = [p for p in psutil.Process().children() if "Loky" in " ".join(p.cmdline())]
    workers[0].kill()


def test_killed_worker_is_reported(tmp_path: Path) -> None:
    killer = Thread(target=kill_a_worker, args=(tmp_path,))
    killer.start()
    with pytest.raises(BrokenExecutor) as caught:
        fetch(tmp_path, TINY.model_copy(update={"pretrain_scenes": 200}), workers=2)
    killer.join()
    assert str(resource_error(caught.value)).startswith("a worker process was killed")


def test_seed_and_counts_matter(simulated: Simulated, tmp_path: Path) -> None:
    folder, _ = simulated
    before = files(folder)
    stale = tmp_path / "ROIs1868_summer" / "s1_99" / "old.tif"
    stale.parent.mkdir(parents=True)
    stale.touch()
    small = {"pretrain_scenes": 1, "train_scenes": 1, "test_scenes": 1}
    fetch(tmp_path, TINY.model_copy(update=small), workers=1)
    fewer = files(tmp_path)
    assert not stale.exists()
    assert all(before[name] == content for name, content in fewer.items())
    fetch(tmp_path, TINY.model_copy(update=small | {"seed": 4}), workers=1)
    same = {name for name, content in files(tmp_path).items() if before.get(name) == content}
    assert not same


def test_full_disk_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**30, 2**30 - 2**20, 2**20))
    big = TINY.model_copy(update={"patch_size": 128})
    with pytest.raises(UserError, match=r"simulated.* needs 1\d\.0 MiB, .* has 1\.0 MiB"):
        fetch(tmp_path, big, workers=1)
    assert not files(tmp_path)


def test_estimated_size_is_sufficient(simulated: Simulated) -> None:
    from eocontrast.sources.simulated.geotiff import patch_bytes

    folder, source = simulated
    needed = sum(patch_bytes(split, 32) for split in source.manifest["split"])
    written = sum(len(content) for content in files(folder).values())
    assert 0.8 * needed < written <= needed


def test_large_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exceeds the largest scene, 2048"):
        fetch(tmp_path, TINY.model_copy(update={"patch_size": 1024, "scene_size": 3}))


def test_dominant_classes_are_stratified() -> None:
    scenes = plan(TINY.model_copy(update={"pretrain_scenes": 16}))[:16]
    for block in (scenes[:8], scenes[8:]):
        assert {scene.dominant for scene in block} == set(DFC_CLASSES)
    assert [scene.dominant for scene in scenes[:8]] != [scene.dominant for scene in scenes[8:]]
    assert manifest(scenes)["group"].nunique() == 16
