"""The folder layouts of DFC2020, made from the simulator's."""

import io
import shutil
import zipfile
from pathlib import Path

from eocontrast.config.sources import SimulatedParams
from eocontrast.sources import simulated


def simulate_few(folder: Path) -> None:
    """Simulate six unlabelled scenes, six to train on and four to test on, of 2 x 2 patches."""
    few = {"pretrain_scenes": 6, "train_scenes": 6, "test_scenes": 4}
    size = {"patch_size": 32, "scene_size": 2, "labelled_scene_size": 2, "test_patches": 0}
    simulated.fetch(folder, SimulatedParams.model_validate({"seed": 0} | few | size), workers=1)


def zipped(data: Path) -> bytes:
    """Return a folder as a zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(data.rglob("*")):
            archive.write(path, path.relative_to(data))
    return packed.getvalue()


def by_halves(_: Path) -> None:
    """Keep the layout of the simulator."""


def by_validation_folders(data: Path) -> None:
    """Make the layout of IEEE DataPort's older archive."""
    for kind in ("s1", "s2", "lc", "dfc"):
        half = data / "ROIs0000_validation"
        (half / f"{kind}_0").rename(half / f"{kind}_validation")


def flat(data: Path, folder: str = "dfc2020_s1s2") -> None:
    """Make the layout of Copernicus-Bench: the half `test` only, without `lc`."""
    (data / folder).mkdir(exist_ok=True)
    for kind in ("s1", "s2", "dfc"):
        (data / f"ROIs0000_test/{kind}_0").rename(data / folder / kind)
    (data / folder / "dfc-train-new.csv").write_text("no raster")
    for half in ("validation", "test"):
        shutil.rmtree(data / f"ROIs0000_{half}")


def by_regions(data: Path) -> None:
    """Make the layout by regions: each half becomes one region."""
    for path in sorted(data.glob("ROIs0000_*/*/*.tif")):
        _, half, kind, _, number = path.stem.split("_")
        season, region = ("autumn", "Mumbai") if half == "test" else ("spring", "KippaRing")
        target = data / f"ROIs0000_{season}/{kind}_{region}"
        target.mkdir(parents=True, exist_ok=True)
        path.rename(target / f"ROIs0000_{season}_{kind}_{region}_{number}.tif")
    for half in ("validation", "test"):
        shutil.rmtree(data / f"ROIs0000_{half}")
