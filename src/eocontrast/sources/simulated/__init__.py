"""Simulated Sentinel-1/2 scenes: measured spectra and published backscatter on random landscapes.

They let the pipeline run without a download. Files have the format of SEN12MS (without labels) and
DFC2020 (with labels). Both sensors see the same fields, soils, leaves and walls through different
physics, so contrastive pretraining can learn what they share. Results on simulated scenes test the
pipeline; they do not show how well it maps the Earth.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from eocontrast.config.sources import SimulatedParams
from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk
from eocontrast.runtime.parallel import parallel_map
from eocontrast.sources.simulated.geotiff import FOLDERS, patch_bytes, patch_path, write_scene
from eocontrast.sources.simulated.ground import draw_ground
from eocontrast.sources.simulated.landscape import make_landscape
from eocontrast.sources.simulated.optics import sense_s2
from eocontrast.sources.simulated.radar import sense_s1
from eocontrast.sources.simulated.scene import Scene, plan_scenes
from eocontrast.sources.simulated.surface import make_surface

LICENCE = "Apache-2.0, of spectra under MIT (earthlib)"

MAX_SIDE = 2048  # pixels; such a scene takes 0.95 GiB of memory per worker, one of 384 takes 0.25


def fetch(folder: Path, params: SimulatedParams, workers: int | None = None) -> Source:
    """Simulate all scenes into `folder`.

    The files depend on the parameters only, not on the number of workers. A scene depends on its
    split and number only, so more test scenes do not change any other file.

    Args:
        folder: destination; scenes of an earlier call are removed.
        params: number and size of the scenes.
        workers: processes; by default one per core.

    Raises:
        UserError: the scenes are too large, or the disk is too full.
    """
    for name in ("scene_size", "labelled_scene_size"):
        if (size := getattr(params, name)) * params.patch_size > MAX_SIDE:
            raise UserError(
                f"sources.simulated: {name} {size} x patch_size {params.patch_size} pixels exceeds "
                f"the largest scene, {MAX_SIDE} pixels; set a smaller {name}"
            )
    scenes = plan(params)
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    _check_disk(folder, scenes)
    calls = [(folder, scene) for scene in scenes]
    written = parallel_map(simulate, calls, workers)
    for _ in tqdm(written, "simulate", len(scenes), unit="scene", disable=None):
        pass
    return Source(
        SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest(scenes), licence=LICENCE
    )


def plan(params: SimulatedParams) -> list[Scene]:
    """Return the scenes of all splits."""
    labelled = params.labelled_scene_size
    sizes = {
        "pretrain": (params.pretrain_scenes, params.scene_size, 0),
        "train": (params.train_scenes, labelled, 0),
        "test": (params.test_scenes, labelled, params.test_patches),
    }
    return [
        scene
        for split, (count, side, kept) in sizes.items()
        for scene in plan_scenes(params.seed, split, count, side, params.patch_size, kept)
    ]


def simulate(folder: Path, scene: Scene) -> None:
    """Simulate one scene and write its patches."""
    ground, land = draw_ground(scene), make_landscape(scene)
    surface = make_surface(scene, land, ground)
    s1 = sense_s1(scene, land, surface, ground)
    s2 = sense_s2(scene, surface.reflectance, land.slope)
    write_scene(folder, scene, s1, s2, land.igbp, land.dfc)


def manifest(scenes: list[Scene]) -> pd.DataFrame:
    """Return the manifest, with one row per patch and paths relative to the folder."""
    rows = []
    for scene in scenes:
        group = f"{scene.split}_{scene.index}"
        for patch in scene.kept:
            s1, s2 = (patch_path(scene, kind, patch) for kind in ("s1", "s2"))
            label = "" if scene.split == "pretrain" else patch_path(scene, "dfc", patch)
            rows.append((Path(s1).stem.replace("_s1_", "_"), s1, s2, label, group, scene.split))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _check_disk(folder: Path, scenes: list[Scene]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(len(s.kept) * patch_bytes(s.split, s.patch_size) for s in scenes)
    check_free_disk(folder, needed, "the scenes of sources.simulated")
