"""Resampling: warp bands to another grid, or interpolate coarse bands on a finer one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject, transform

from eocontrast.rasters.grids import Grid


def warp(
    values: NDArray[Any], source: Grid, target: Grid, resampling: Resampling = Resampling.bilinear
) -> NDArray[np.float32]:
    """Return (bands, h, w) on another grid as float32, NaN where there is no data."""
    shape = (len(values), target.height, target.width)
    warped: NDArray[np.float32] = np.full(shape, np.nan, np.float32)
    # each band alone: no data in one band is no data in that band only
    for band, result in zip(values, warped, strict=True):
        reproject(
            band.astype(np.float32),
            result,
            src_transform=source.transform,
            src_crs=source.crs,
            src_nodata=math.nan,
            dst_transform=target.transform,
            dst_crs=target.crs,
            dst_nodata=math.nan,
            resampling=resampling,
            tolerance=0.01,  # in pixels; windows of a coarser approximation would show seams
        )
    return warped


def source_window(source: Grid, target: Grid) -> tuple[slice, slice] | None:
    """Return the rows and columns of a source that the pixels of a target need; None for none."""
    edge = np.linspace(0, 1, 21)  # a straight edge is curved in another CRS
    zeros, ones = np.zeros_like(edge), np.ones_like(edge)
    cols = np.concatenate([edge, edge, zeros, ones]) * target.width
    rows = np.concatenate([zeros, ones, edge, edge]) * target.height
    xs, ys = _moved(target.transform, cols, rows)
    if source.crs != target.crs:
        xs, ys = map(np.asarray, transform(target.crs, source.crs, xs, ys))
    cols, rows = _moved(~source.transform, xs, ys)
    slices = []
    for positions, size, length in (
        (rows, source.height, target.height),
        (cols, source.width, target.width),
    ):
        finite = positions[np.isfinite(positions)]
        if not finite.size:
            return None
        # GDAL's bilinear kernel reaches over one target pixel, or one source pixel if larger
        margin = 2 + 2 * math.ceil(max(1.0, np.ptp(finite) / length))
        start = max(0, math.floor(finite.min()) - margin)
        stop = min(size, math.ceil(finite.max()) + margin)
        if start >= stop:
            return None
        slices.append(slice(start, stop))
    return slices[0], slices[1]


def _moved(
    transform: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


Span = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]
"""Lower and upper coarse pixel of fine pixels along one axis, and the weight of the upper."""


def span(start: int, length: int, coarse: int, fine: int) -> Span:
    """Return the span of `length` fine pixels from `start`.

    `coarse` and `fine` are the numbers of pixels along the whole axis.
    """
    centres = np.arange(start, start + length) + 0.5
    # constant beyond the centres of the outermost coarse pixels
    position = np.clip(centres * coarse / fine - 0.5, 0, coarse - 1)
    low = np.floor(position).astype(np.intp)
    return low, np.minimum(low + 1, coarse - 1), position - low


def bilinear(values: NDArray[Any], rows: Span, cols: Span) -> NDArray[Any]:
    """Interpolate (bands, h, w), which begins at the first pixel of both spans.

    A missing pixel makes every pixel missing that it has a weight in.
    """
    # GDAL's own `out_shape` fills pixels beside missing ones from their neighbours. It also rounds
    # integers half up: 2 to 4 % of a 20 m or 60 m band's digital numbers would differ by 1.
    for axis, (low, high, weight) in enumerate((rows, cols), start=1):
        upper = weight.reshape(-1, *[1] * (2 - axis))
        lower_values, upper_values = (values.take(part - low[0], axis) for part in (low, high))
        values = lower_values * (1 - upper) + upper_values * upper
    return values
