"""Checks of a scene against the input of a model, before anything is mapped."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from eocontrast.modalities import STORAGE, Modality, Sensor, implausible, limits
from eocontrast.patches.agreement import PIXEL, same_pixel
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.flat import empty_block, flat_area
from eocontrast.rasters.grids import Grid
from eocontrast.rasters.image import SensorImage
from eocontrast.rasters.levels import doubt, levels, swapped
from eocontrast.rasters.offsets import (
    TWICE,
    added_offset,
    dark_ends,
    offset_by_content,
    share_below,
)
from eocontrast.rasters.values import missing_pixels
from eocontrast.runtime.errors import UserError

Resolution = Literal["model", "scene"]

SAMPLES, SIDE = 4, 64
"""Windows each way, and their side in pixels, of the sample whose values are checked."""


def scene_grid(
    grid: Grid, inputs: Mapping[Sensor, InputSpec], resolution: Resolution | None
) -> Grid:
    """Return the grid of the map, which has pixels about as large as those of training.

    Raises:
        UserError: the pixels differ, or weights do not state theirs, and the user does not decide.
    """
    # both sensors of a store share one grid; imported backbones may differ
    sizes = [spec.pixel for spec in inputs.values() if spec.pixel]
    expected, metres = max(sizes, default=None), grid.metres
    if metres is None:
        if resolution != "scene":
            size = f"{expected:.3g} m" if expected else "the size in training"
            _say(f"the scene has no georeference; its pixels are assumed to have {size}")
        return grid
    if resolution == "scene":
        return grid
    if expected is None:
        if resolution is None and same_pixel(metres, PIXEL):
            _say(f"the weights do not state the pixel size of training; {PIXEL:g} m is assumed")
            return grid
        raise UserError(
            f"the scene has pixels of {metres:.3g} m, and the weights do not state the size of "
            "those in training. Pass --resolution scene to use the scene as it is, or train again"
        )
    if same_pixel(metres, expected):
        return grid
    if resolution == "model":
        _say(f"the scene's pixels of {metres:.3g} m are resampled to the model's {expected:.3g} m")
        return grid.with_metres(expected)
    raise UserError(
        f"the scene has pixels of {metres:.3g} m, but the model was trained on pixels of "
        f"{expected:.3g} m. Pass --resolution model to resample the scene, or --resolution scene "
        "to map it as it is"
    )


def check_values(
    sensor: Sensor, spec: InputSpec, image: SensorImage, grid: Grid, check_scale: bool
) -> None:
    """Refuse a scene without data, or in other units: those only cost accuracy later.

    Raises:
        UserError: there is no data, or the offset or the values do not fit the model.
    """
    sample, modality = _sample(image, grid), scene_modality(image, spec)
    pixels = _present(sample)
    if not pixels.size:
        raise UserError("no data on the scene's grid: are both images of one place?")
    if area := flat_area(sample, missing_pixels(sample), limits(modality)):
        _say(
            f"{sensor}: a sample of the scene holds {area}. If it is, pass --{sensor}-nodata "
            f"{_on_disk(area.values[0], image)}"
        )
    if block := empty_block(sample, missing_pixels(sample)):
        band = f"{image.bands[block[0]]} is exactly 0 in a rectangle of {block[1]:.1%} of a sample"
        _say(f"{sensor}: {band} of the scene; a tile of that band may be missing")
    if not check_scale:
        return
    reason = implausible(pixels, modality)
    if reason:
        raise UserError(
            f"values in {image.units} lie between {pixels.min():.4g} and {pixels.max():.4g}: "
            f"{reason}. Name their units by --{sensor}-units; if they are right, pass "
            "--no-scale-check"
        )
    _check_levels(sensor, modality, pixels)
    _check_offset(sensor, spec, image, pixels)


def _on_disk(value: float, image: SensorImage) -> str:
    """Return a value as the file holds it, if the offset that was added is known."""
    number = image.offset.number if image.offset else 0
    return "with that value as the file holds it" if number == "auto" else f"{value - number:g}"


def _check_levels(sensor: Sensor, modality: Modality, pixels: NDArray[Any]) -> None:
    """Refuse values on a scale that no ground has, and doubt unlikely ones, as the audit does."""
    found = levels(modality, pixels)
    if found and (why := swapped(found)):
        raise UserError(
            f"{why}. Name the bands in the order of the file by --{sensor}-bands; if it is right, "
            "pass --no-scale-check"
        )
    unlikely = doubt(found) if found else None
    if unlikely and unlikely.certain:
        raise UserError(
            f"values in {modality.units} have {unlikely.text}. Convert them; if they are right, "
            "pass --no-scale-check"
        )
    if unlikely:
        _say(f"{sensor}: values in {modality.units} have {unlikely.text}; check them")


def scene_modality(image: SensorImage, spec: InputSpec) -> Modality:
    """Return the modality of an image, clipped to the range of a model."""
    low, high = spec.modality.valid_range
    # the range of a model in DN, for values in reflectance, and the reverse
    factor = STORAGE[image.units].step / spec.modality.storage.step
    return Modality(image.bands, image.units, (low * factor, high * factor))


def _check_offset(
    sensor: Sensor, spec: InputSpec, image: SensorImage, pixels: NDArray[Any]
) -> None:
    """Compare the offset of a scene with that of training; the user's word needs no check."""
    counts, stated = dark_ends(pixels, image.units), image.offset
    if counts is None or (stated and stated.by == "user"):
        return
    add, keep = (f"--{sensor}-offset {number:g}" for number in (-added_offset(image.units), 0))
    take = f"--{sensor}-offset {added_offset(image.units):g}"
    if stated and stated.number != 0:
        if share_below(pixels, image.units) > TWICE:
            raise UserError(
                f"the {stated.by} states an offset, but many values lie too low to hold it: it was "
                f"taken off before. Pass {keep}, or {take} if the values are right"
            )
        if spec.with_offset is not False:
            state = "were" if spec.with_offset else "do not state whether they were"
            raise UserError(
                f"the {stated.by} states an offset, which is taken off, but the weights {state} "
                f"trained with it. Pass {keep} to keep it, or {take} to take it off"
            )
        _say(f"{sensor}: the offset that the {stated.by} states is taken off, as in training")
        return
    # a product of before 2022 states 0, whatever its ground looks like
    evidence = "absent" if stated else offset_by_content(counts)
    if evidence == "present" and not spec.with_offset:
        raise UserError(
            f"no band goes below {pixels.min():.4g}, which looks like the offset of +1000 that "
            "Sentinel-2's products have since 2022 (baseline 04.00), and no header names it. Pass "
            f"{take} to subtract it, or {keep} if the values are right"
        )
    if evidence == "absent" and spec.with_offset is not False:
        state = "hold the" if spec.with_offset else "may hold the"
        raise UserError(
            f"the values have no offset of 1000, but those in training {state} offset. Pass {add} "
            f"to add it, or {keep} if the model was trained without"
        )
    if evidence in ("doubtful", "bright"):
        state = "with it" if spec.with_offset else "without it"
        trained = "as they are" if spec.with_offset is None else f"as in training, {state}"
        _say(
            f"{sensor}: the values are too bright to show whether they hold Sentinel-2's offset of "
            f"1000; they are taken {trained}. Pass {take} to take it off"
        )
    elif evidence == "present":
        _say(
            f"{sensor}: the values look like they hold Sentinel-2's offset of 1000, which nothing "
            "states; it is kept, as in training"
        )


def _say(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


def _sample(image: SensorImage, grid: Grid) -> NDArray[Any]:
    """Read windows from all over the scene as one picture, shape (bands, h, w).

    The scene is thinned instead if the windows hold no data.
    """
    height, width = min(SIDE, grid.height), min(SIDE, grid.width)
    # the middle of each quarter: a scene's edges often hold no data
    shares = (np.arange(SAMPLES) + 0.5) / SAMPLES
    rows, cols = (
        # multiples of a side, so that a window does not lie across several blocks of a file
        ((shares * room).astype(int) // SIDE * SIDE).tolist()
        for room in (grid.height - height, grid.width - width)
    )
    # a small scene has the same window several times
    rows, cols = sorted({*rows}), sorted({*cols})
    windows = [[image.read(Window(col, row, width, height)) for col in cols] for row in rows]
    sample: NDArray[Any] = np.concatenate([np.concatenate(line, 2) for line in windows], 1)
    if missing_pixels(sample).all():
        most = SAMPLES * SIDE
        sample = image.read(out_shape=(min(grid.height, most), min(grid.width, most)))
    return sample


def _present(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, ~missing_pixels(values)]
