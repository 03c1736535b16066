"""A manifest and its parameters, made from two scenes and a file of labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from eocontrast.modalities import Sensor
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.open import gdal_settings, open_raster
from eocontrast.runtime.errors import UserError
from eocontrast.sources.labels.burn import NOTHING, Burner
from eocontrast.sources.labels.vectors import read_vectors
from eocontrast.sources.labels.warp import SUFFIXES as RASTERS
from eocontrast.sources.labels.warp import LabelRaster
from eocontrast.sources.scenes.cut import Cutting, Draw, Plan, cut_scene, plan_patches
from eocontrast.sources.scenes.inspect import SceneImage

MOST_CLASSES = 256
"""Most class values that a label raster may hold for its classes to be found."""


SINGLE = "unet"
"""Arm of the single run: a segmenter, because labels are polygons, points or pixels."""


@dataclass(frozen=True)
class FoundLabels:
    """A file of labels and the classes that it holds.

    Attributes:
        path: The file.
        class_column: Column of a vector file.
        classes: Value in masks by name.
        kind: `polygons`, `points` or `pixels`.
        draw: Draws them on a grid.
        bounds: Returns left, bottom, right and top of all labels in the CRS of a grid.
    """

    path: Path
    class_column: str
    classes: dict[str, int]
    kind: str
    draw: Draw
    bounds: Callable[[Grid], tuple[float, float, float, float]]


def find_labels(path: Path, class_column: str | None) -> FoundLabels:
    """Find the classes in a vector file or in a label raster.

    Raises:
        UserError: the file cannot be used, or a vector file is without a class column.
    """
    if path.suffix.lower() in RASTERS:
        return _raster_labels(path)
    vectors = read_vectors(path, class_column or "class", {})
    if vectors is None:
        raise UserError(f"{path} has no features; expected polygons or points with a class")
    burner = Burner(vectors)

    def draw(grid: Grid) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        numbers = burner.draw(grid)
        return np.where(numbers >= 0, vectors.classes[numbers], NOTHING), numbers

    def bounds(grid: Grid) -> tuple[float, float, float, float]:
        left, bottom, right, top = shapely.total_bounds(vectors.in_crs(grid.crs))
        return left, bottom, right, top

    classes = {name: value for value, name in enumerate(vectors.names, start=1)}
    return FoundLabels(path, class_column or "class", classes, vectors.kind, draw, bounds)


def _raster_labels(path: Path) -> FoundLabels:
    labels = LabelRaster(path)
    with gdal_settings(), open_raster(path) as raster:
        place = Grid.of(raster)
        # 0 is what most label rasters have for no label, if they declare no value for it
        absent = 0 if raster.nodata is None else raster.nodata
    held = [value for value in labels.values().tolist() if value != absent]
    if not 2 <= len(held) <= MOST_CLASSES:
        raise UserError(
            f"{path} holds {len(held)} class values; expected 2 to {MOST_CLASSES}: is it a label "
            "raster?"
        )
    classes = {f"class_{value}": value for value in held}
    known = np.array(held)

    def draw(grid: Grid) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        drawn = labels.draw(grid)
        # clipped, because a value above all known ones would be out of range; the next line drops
        # it
        places = np.searchsorted(known, drawn).clip(max=len(known) - 1)
        indices = np.where(known[places] == drawn, places, NOTHING)
        return indices, np.full(drawn.shape, NOTHING)

    def bounds(grid: Grid) -> tuple[float, float, float, float]:
        left, bottom, right, top = transform_bounds(place.crs, grid.crs, *place.bounds)
        return left, bottom, right, top

    kind = f"pixels ({absent:g} is no label)"
    return FoundLabels(path, "class", classes, kind, draw, bounds)


@dataclass(frozen=True)
class Project:
    """The patches that were cut, and the assumptions behind them.

    Attributes:
        images: Images by sensor.
        labels: File of labels.
        cutting: Size and number of patches.
        plan: Which patch goes where.
        manifest: Path of the manifest.
        pairs: Number of pairs in it.
    """

    images: dict[Sensor, SceneImage]
    labels: FoundLabels
    cutting: Cutting
    plan: Plan
    manifest: Path
    pairs: int

    def lines(self) -> list[str]:
        """Return what was found and assumed, one line per fact."""
        plan, side = self.plan, self.cutting.side
        found = [
            f"{sensor}: {image.path}, {', '.join(image.modality.bands)}; {image.reasons}"
            for sensor, image in self.images.items()
        ]
        rows, cols = plan.shape
        pixel = plan.grid.pixel
        counts = {part: int((plan.split == part).sum()) for part in ("train", "test", "pretrain")}
        held = [
            f"{name} {train} and {test}"
            for name, train, test in zip(self.labels.classes, *plan.amounts.tolist(), strict=True)
        ]
        lines = [
            *found,
            f"grid: that of s2, {plan.grid.crs}, {pixel:g} m; {rows} x {cols} patches of {side} "
            f"pixels",
            f"labels: {self.labels.path}, {self.labels.kind} of {len(held)} classes; pixels to "
            f"train and to test on: {', '.join(held)}",
            f"blocks: {plan.block} x {plan.block} patches ({plan.block * side * pixel / 1000:g} "
            "km); a block is trained on or tested on",
            f"patches: {counts['train']} with labels to train on, {counts['test']} to test on, "
            f"{counts['pretrain']} without labels for pretraining; {plan.between} labelled ones "
            f"between training and test and {plan.empty} without data are left out",
        ]
        return lines + self._warnings()

    def _warnings(self) -> list[str]:
        return [
            f"warning: class {name} has no label to {what}; add polygons of it elsewhere"
            for amounts, what in zip(self.plan.amounts, ("train on", "test on"), strict=True)
            for name, amount in zip(self.labels.classes, amounts.tolist(), strict=True)
            if not amount
        ]


def cut_project(
    images: dict[Sensor, SceneImage], labels: FoundLabels, cutting: Cutting, out: Path
) -> Project:
    """Cut scenes into patches with a manifest in `out`.

    Raises:
        UserError: labels and scenes do not overlap, or a file is damaged.
    """
    grid = images["s2"].grid
    _check_overlap(labels, grid)
    plan = plan_patches(grid, labels.draw, len(labels.classes), cutting)
    manifest = cut_scene(images, plan, cutting.side, out)
    return Project(images, labels, cutting, plan, out / "manifest.csv", len(manifest))


def _check_overlap(labels: FoundLabels, grid: Grid) -> None:
    left, bottom, right, top = labels.bounds(grid)
    scene = grid.bounds
    if left > scene[2] or right < scene[0] or bottom > scene[3] or top < scene[1]:
        raise UserError(
            f"{labels.path}: no label lies in the scene: labels span {left:.0f}, {bottom:.0f}, "
            f"{right:.0f}, {top:.0f} in {grid.crs}, the scene "
            f"{', '.join(f'{x:.0f}' for x in scene)}; is the CRS of both right?"
        )


def fill_params(params: Any, project: Project) -> None:  # noqa: ANN401 - a round-trip mapping
    """Write what was found into the parsed params.yaml, in place."""
    own = params["sources"]["manifest"]
    own["path"] = project.manifest.as_posix()
    for sensor, image in project.images.items():
        modality = image.modality
        own[sensor]["bands"] = list(modality.bands)
        own[sensor]["units"] = modality.units
        own[sensor]["valid_range"] = list(modality.valid_range)
    own["classes"] = dict(project.labels.classes)
    own["labels"]["path"] = project.labels.path.as_posix()
    own["labels"]["class_column"] = project.labels.class_column
    params["data"]["pretrain"] = params["data"]["finetune"] = "manifest"
    seen = int(np.isin(project.plan.split, ("train", "pretrain")).sum())
    fit_training(params, project.cutting.side, seen)


def fit_training(params: Any, side: int, seen: int) -> None:  # noqa: ANN401 - as `fill_params`
    """Fit backbones to the side of patches, and batches to the number that is trained on.

    The single run becomes the U-Net, since its model maps every pixel.
    """
    if any(SINGLE in arms for arms in params["label_curve"]["arms"].values()):
        params["finetune"]["arm"] = SINGLE
    for backbone in params["backbones"].values():
        # set the size: by default timm builds a Swin for images of one size
        if "img_size" in backbone["options"]:
            backbone["options"]["img_size"] = side
    for run in params["pretrain"]["runs"].values():
        if "batch_size" in run:
            # four steps an epoch at least, since a batch of few steps learns nothing
            run["batch_size"] = min(run["batch_size"], max(2, seen // 4))
            run["groups_per_batch"] = min(run["groups_per_batch"], run["batch_size"])
