"""Random fields and cells for landscapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Field = NDArray[np.float32]


def fractal(rng: np.random.Generator, size: int, scale: float, slope: float = 3.0) -> Field:
    """Return a field (size, size) of mean 0 and sd 1 with power f^-slope below `scale` pixels.

    A slope of 3 is that of natural relief (Turcotte 1997, section 7.6); larger is smoother.
    """
    n = fft.next_fast_len(int(1.25 * size) + 8, real=True)  # an FFT's field wraps around: crop it
    white = rng.standard_normal((n, n), dtype=np.float32)
    squared = fft.fftfreq(n)[:, None] ** 2 + fft.rfftfreq(n)[None] ** 2
    # quarter the slope: this multiplies amplitudes, and the frequency is squared already
    power = (squared + scale**-2.0).astype(np.float32) ** np.float32(-slope / 4)
    field = fft.irfft2(fft.rfft2(white) * power, s=(n, n))[:size, :size]
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


def smooth_noise(rng: np.random.Generator, size: int, sigma: float) -> Field:
    """Return a Gaussian field (size, size) of mean 0 and sd 1, correlated over `sigma` pixels."""
    white = rng.standard_normal((size, size), dtype=np.float32)
    # a Gaussian kernel of sd s has the power 1 / (4 pi s^2); below half a pixel it is a spike
    field = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=3)
    return np.asarray(field / (field.std() + 1e-6), dtype=np.float32)


def cells(
    rng: np.random.Generator, size: int, spacing: float, warp: float = 0.0
) -> NDArray[np.intp]:
    """Return Voronoi cell numbers (size, size); `warp` (pixels) bends the borders."""
    count = max(2, round((size / spacing) ** 2))
    seeds = np.ones((size, size), dtype=bool)
    seeds.flat[rng.choice(size * size, min(count, size * size), replace=False)] = False
    nearest = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    number = np.cumsum(~seeds.ravel()).reshape(size, size) - 1
    cell = number[nearest[0], nearest[1]]
    if warp == 0:
        return np.asarray(cell, dtype=np.intp)
    rows, columns = np.indices((size, size))
    shift_rows = (warp * fractal(rng, size, 4 * warp, 3.5)).astype(np.intp)
    shift_columns = (warp * fractal(rng, size, 4 * warp, 3.5)).astype(np.intp)
    return np.asarray(
        cell[
            np.clip(rows + shift_rows, 0, size - 1), np.clip(columns + shift_columns, 0, size - 1)
        ],
        dtype=np.intp,
    )


def edges(parcels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return the mask of pixels whose right or lower neighbour is in another parcel."""
    edge = np.zeros(parcels.shape, dtype=bool)
    edge[:, :-1] |= parcels[:, 1:] != parcels[:, :-1]
    edge[:-1] |= parcels[1:] != parcels[:-1]
    return edge


def parcel_mean(values: Field, parcels: NDArray[np.intp]) -> Field:
    """Replace `values` (size, size) by their mean over each parcel."""
    total = np.bincount(parcels.ravel(), weights=values.ravel())
    mean = total / np.maximum(np.bincount(parcels.ravel()), 1)
    return np.asarray(mean[parcels], dtype=np.float32)
