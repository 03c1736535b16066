"""Patches, blocks and labels of an area, before anything is asked of a catalogue."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.config.catalogues import StacParams
from eocontrast.runtime.errors import UserError
from eocontrast.sources.labels.burn import NOTHING
from eocontrast.sources.scenes.project import FoundLabels, fit_training
from eocontrast.sources.stac.area import square_kilometres
from eocontrast.sources.stac.catalogs import catalog_of
from eocontrast.sources.stac.patches import PIXEL, Patch, patches_of

BLOCKS = 40
"""Blocks of an area by default, as of a scene."""

LEAST = 3
"""Least side of a block in patches; its last row and column stay free."""


@dataclass(frozen=True)
class AreaPlan:
    """Patches of an area and the labels that lie in them.

    Attributes:
        params: Parameters of the source.
        labels: File of labels.
        patches: Patches to be read.
        amounts: Labelled pixels of each class in each patch, (patches, classes).
        counted: Number of polygons or points in the patches, 0 for a raster.
        test_fraction: Share of the labelled patches to test on.
    """

    params: StacParams
    labels: FoundLabels
    patches: list[Patch]
    amounts: NDArray[np.int64]
    counted: int
    test_fraction: float

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Return whether each patch has labels."""
        held: NDArray[np.bool_] = self.amounts.sum(1) > 0
        return held

    @property
    def blocks(self) -> int:
        """Number of blocks with labels."""
        pairs = zip(self.patches, self.labelled, strict=True)
        return len({patch.group for patch, labelled in pairs if labelled})

    def lines(self) -> list[str]:
        """Return what was found and assumed, one line per fact."""
        params, catalog = self.params, catalog_of(self.params.catalog)
        side = PIXEL * params.patch_size
        zones = ", ".join(f"EPSG:{code}" for code in sorted({p.epsg for p in self.patches}))
        pixels = zip(self.labels.classes, self.amounts.sum(0).tolist(), strict=True)
        counted = f"{self.counted} {self.labels.kind}" if self.counted else self.labels.kind
        return [
            f"area: {params.area}, {square_kilometres(params.area):.0f} km2, on {zones} at 10 m",
            f"s2: {catalog.s2.collection} of {catalog.s2.url}, {', '.join(params.bands)}, in "
            f"{', '.join(params.dates)}; the clearest observation of each patch, and none with "
            f"more than {params.max_cloud:.0%} clouds",
            f"s1: {catalog.s1.collection} of {catalog.s1.url}, VV, VH, {params.orbit} orbits; the "
            f"observation nearest in time, at most {params.max_days_apart:g} days away",
            f"patches: {len(self.patches)} of {params.patch_size} x {params.patch_size} pixels "
            f"({side} m), {self.labelled.sum()} of them with labels; the others serve pretraining",
            f"labels: {params.labels.path}, {counted} of {len(self.labels.classes)} classes in the "
            f"patches; pixels: {', '.join(f'{name} {count}' for name, count in pixels)}",
            f"blocks: {params.block_km:g} km; one row of patches between blocks stays free; "
            f"{self.blocks} blocks have labels, and {self.test_fraction:.0%} of the labelled "
            "patches are tested on, in whole blocks",
            *self._warnings(),
        ]

    def _warnings(self) -> list[str]:
        return [
            f"warning: class {name} has no label in the patches; add polygons of it in the area"
            for name, amount in zip(self.labels.classes, self.amounts.sum(0), strict=True)
            if not amount
        ]


def block_kilometres(area: Path, patch_size: int, block: int | None) -> float:
    """Return the side of a block of `block` patches, by default such that there are about 40."""
    side = PIXEL * patch_size / 1000
    cells = square_kilometres(area) / side**2
    # one more patch, since a row of each block stays free
    patches = block + 1 if block else max(LEAST, round(math.sqrt(cells / BLOCKS)))
    return round(patches * side, 3)


def plan_area(params: StacParams, labels: FoundLabels, test_fraction: float) -> AreaPlan:
    """Lay out the patches of an area and count the labels in them.

    Raises:
        UserError: labels lie in no patch or in one block, or hold one class; or a credential is
            missing.
    """
    catalog_of(params.catalog)  # a missing credential would stop `dvc repro` later
    patches = patches_of(params)
    amounts = np.zeros((len(patches), len(labels.classes)), np.int64)
    seen: set[int] = set()
    # drawn as the masks will be, so that counts are those of training
    for row, patch in zip(amounts, patches, strict=True):
        indices, numbers = labels.draw(patch.grid)
        np.add.at(row, indices[indices != NOTHING], 1)
        seen |= set(np.unique(numbers).tolist())
    plan = AreaPlan(params, labels, patches, amounts, len(seen - {NOTHING}), test_fraction)
    if not amounts.any():
        raise UserError(_elsewhere(plan))
    held = (amounts.sum(0) > 0).sum()
    if held < 2:
        raise UserError(
            f"the patches of {params.area} hold labels of {held} class; expected two classes or "
            "more: label more ground, or choose another area"
        )
    if plan.blocks < 2:
        raise UserError(
            "all labels lie in 1 block, and one must be trained on and another tested on; choose a "
            "smaller --block or --patch-size, or label ground further apart"
        )
    return plan


def _elsewhere(plan: AreaPlan) -> str:
    first = plan.patches[0].grid
    labels = ", ".join(f"{x:.0f}" for x in plan.labels.bounds(first))
    bounds = np.array([patch.grid.bounds for patch in plan.patches if patch.grid.crs == first.crs])
    box = ", ".join(f"{x:.0f}" for x in (*bounds[:, :2].min(0), *bounds[:, 2:].max(0)))
    return (
        f"{plan.labels.path} labels no pixel of any patch of {plan.params.area}: labels span "
        f"{labels} in {first.crs}, the patches {box}; is the CRS of both right?"
    )


def fill_params(params: Any, plan: AreaPlan) -> None:  # noqa: ANN401 - a round-trip mapping
    """Write the plan into the parsed params.yaml, in place."""
    own, source = params["sources"]["stac"], plan.params
    own["area"] = source.area.as_posix()
    own["dates"] = list(source.dates)
    for name in ("orbit", "patch_size", "patches", "block_km", "seed"):
        own[name] = getattr(source, name)
    # stated, so that their order does not change with the file
    own["classes"] = dict(plan.labels.classes)
    own["labels"]["path"] = source.labels.path.as_posix()
    own["labels"]["class_column"] = source.labels.class_column
    params["data"]["pretrain"] = params["data"]["finetune"] = "stac"
    params["normalise"]["test_fraction"] = plan.test_fraction
    params["normalise"]["seed"] = source.seed
    trained = len(plan.patches) - round(plan.test_fraction * int(plan.labelled.sum()))
    fit_training(params, source.patch_size, trained)
