from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from raster_files import write_raster
from rasterio.crs import CRS
from scenes import LEFT, TOP, Scene, label_raster, write_scene

from eocontrast.modalities import SENSORS, Sensor
from eocontrast.rasters.open import open_raster
from eocontrast.runtime.errors import UserError
from eocontrast.sources.scenes.cut import Cutting
from eocontrast.sources.scenes.inspect import SceneImage, inspect
from eocontrast.sources.scenes.project import Project, cut_project, find_labels

CUTTING = Cutting(side=48, block=2, patches=2000, test_fraction=0.3, seed=0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return write_scene(tmp_path_factory.mktemp("scene"))


def cut(scene: Scene, out: Path, labels: Path | None = None) -> tuple[Project, pd.DataFrame]:
    images: dict[Sensor, SceneImage] = {
        "s1": inspect("s1", str(scene.s1), None, None),
        "s2": inspect("s2", str(scene.s2), None, None),
    }
    project = cut_project(images, find_labels(labels or scene.labels, "crop"), CUTTING, out)
    return project, pd.read_csv(out / "manifest.csv", keep_default_na=False)


def positions(manifest: pd.DataFrame) -> np.ndarray:
    return np.array([(int(name[1:5]), int(name[7:])) for name in manifest.id])


def test_patches_equal_the_scene(scene: Scene, tmp_path: Path) -> None:
    _, manifest = cut(scene, tmp_path)
    with rasterio.open(scene.s2) as whole:
        for row in manifest.itertuples():
            with open_raster(tmp_path / str(row.s2)) as patch:
                window = whole.window(*patch.bounds).round_offsets().round_lengths()
                np.testing.assert_array_equal(patch.read(), whole.read(window=window))
                assert patch.descriptions == ("B02", "B03", "B04", "B08")
                assert patch.crs == whole.crs


def test_radar_lies_on_optical_grid(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, s1_pixel=20)
    _, manifest = cut(scene, tmp_path / "cut")
    first = manifest.iloc[0]
    with (
        open_raster(tmp_path / "cut" / first.s1) as s1,
        open_raster(tmp_path / "cut" / first.s2) as s2,
    ):
        assert s1.bounds == s2.bounds
        assert (s1.dtypes[0], s2.dtypes[0]) == ("float32", "uint16")


def test_no_neighbours_across_splits(scene: Scene, tmp_path: Path) -> None:
    project, manifest = cut(scene, tmp_path)
    tested = positions(manifest[manifest.split == "test"])
    others = positions(manifest[manifest.split != "test"])
    apart = np.abs(tested[:, None] - others[None]).max(2)
    assert apart.min() >= 2
    assert set(manifest.split) == {"train", "test", "pretrain"}
    assert manifest.groupby("group").split.agg(lambda s: ("test" in set(s)) + len(set(s))).max() < 3
    assert project.plan.amounts.min() > 0


def test_unlabelled_patches_are_bounded(scene: Scene, tmp_path: Path) -> None:
    images = {s: inspect(s, str(getattr(scene, s)), None, None) for s in SENSORS}
    few = Cutting(side=48, block=2, patches=5, test_fraction=0.3, seed=0)
    cut_project(images, find_labels(scene.labels, "crop"), few, tmp_path)
    manifest = pd.read_csv(tmp_path / "manifest.csv")
    assert (manifest.split == "pretrain").sum() == 5


def test_label_raster_gives_classes(scene: Scene, tmp_path: Path) -> None:
    path = label_raster(scene, tmp_path / "labels.tif")
    project, _ = cut(scene, tmp_path / "cut", path)
    assert project.labels.classes == {"class_1": 1, "class_2": 2, "class_3": 3}
    assert project.plan.amounts.min() > 500
    assert "0 is no label" in "\n".join(project.lines())


def test_patches_without_data_are_left_out(scene: Scene, tmp_path: Path) -> None:
    with rasterio.open(scene.s2) as raster:
        bands, place = raster.read(), raster.transform
    bands[:, :, 288:] = 0
    write_raster(
        tmp_path / "S2.tif", bands, crs=CRS.from_epsg(32632), transform=place,
        descriptions=("B02", "B03", "B04", "B08"),
    )  # fmt: skip
    images: dict[Sensor, SceneImage] = {
        "s1": inspect("s1", str(scene.s1), None, None),
        "s2": inspect("s2", str(tmp_path / "S2.tif"), None, None),
    }
    project = cut_project(images, find_labels(scene.labels, "crop"), CUTTING, tmp_path / "cut")
    manifest = pd.read_csv(tmp_path / "cut/manifest.csv")
    assert positions(manifest)[:, 1].max() == 5
    assert project.plan.empty > 0


def test_labels_beside_the_scene_are_named(scene: Scene, tmp_path: Path) -> None:
    frame = geopandas.read_file(scene.labels).to_crs(32632)
    frame.geometry = frame.geometry.translate(20_000, 0)
    frame.to_file(tmp_path / "away.gpkg")
    with pytest.raises(UserError, match="no label lies in the scene: labels span 52"):
        cut(scene, tmp_path, tmp_path / "away.gpkg")


def test_scene_smaller_than_a_patch(tmp_path: Path) -> None:
    scene = write_scene(tmp_path, side=40, field=8)
    with pytest.raises(UserError, match="40 x 40 pixels, fewer than a patch of 48 x 48"):
        cut(scene, tmp_path / "cut")


@pytest.mark.parametrize(
    ("values", "names", "units"),
    [
        (np.array([-8.0, -15.0]), ("VV", "VH"), "dB"),
        (np.array([0.1, 0.02]), ("VV", "VH"), "linear"),
        (np.array([400, 900, 800, 3000]), ("B02", "B03", "B04", "B08"), "DN"),
        (np.array([0.04, 0.09, 0.08, 0.3]), ("B02", "B03", "B04", "B08"), "reflectance"),
    ],
)
def test_units_are_found(
    tmp_path: Path, values: np.ndarray, names: tuple[str, ...], units: str
) -> None:
    dtype = np.uint16 if units == "DN" else np.float32
    bands = np.broadcast_to(values[:, None, None], (len(values), 8, 8)).astype(dtype)
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    write_raster(tmp_path / "a.tif", bands, crs=CRS.from_epsg(32632), transform=place)
    image = inspect("s1" if len(values) == 2 else "s2", str(tmp_path / "a.tif"), None, None)
    assert (image.modality.bands, image.modality.units) == (names, units)
    assert "the file does not name them" in image.reasons


def test_band_files_name_their_bands(tmp_path: Path) -> None:
    place = Affine(10, 0, LEFT, 0, -10, TOP)
    for band, pixels in (("B03", 16), ("B11", 8)):
        scale = Affine.scale(16 // pixels)
        bands = np.full((1, pixels, pixels), 900, np.uint16)
        path = tmp_path / f"S2_{band}.tif"
        write_raster(path, bands, crs=CRS.from_epsg(32632), transform=place @ scale)
    image = inspect("s2", str(tmp_path / "S2_{band}.tif"), None, None)
    assert image.modality.bands == ("B03", "B11")
    assert image.grid.height == 16


@pytest.mark.parametrize(
    ("count", "placed", "message"),
    [(3, True, "3 bands without names"), (4, False, "does not say where it lies")],
)
def test_unfit_scene_is_named(tmp_path: Path, count: int, placed: bool, message: str) -> None:
    place = {"crs": CRS.from_epsg(32632), "transform": Affine(10, 0, LEFT, 0, -10, TOP)}
    bands = np.full((count, 8, 8), 900, np.uint16)
    write_raster(tmp_path / "a.tif", bands, **(place if placed else {}))
    with pytest.raises(UserError, match=message):
        inspect("s2", str(tmp_path / "a.tif"), None, None)


def test_wrong_units_are_named(scene: Scene) -> None:
    with pytest.raises(UserError, match="can hardly be reflectance: most values exceed 2"):
        inspect("s2", str(scene.s2), None, "reflectance")
