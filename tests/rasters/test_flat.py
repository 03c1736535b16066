"""Fill that no header declares: flat areas in one band and in several."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from eocontrast.rasters.flat import empty_block, flat_area

SIDE = 64
NONE = np.zeros((SIDE, SIDE), np.bool_)
DIGITAL, DECIBEL = (0.0, 10000.0), (-40.0, 10.0)


def ground(bands: int, low: float, high: float) -> NDArray[np.float64]:
    """Draw smooth ground with some noise, (bands, SIDE, SIDE)."""
    rng = np.random.default_rng(7)
    smooth = gaussian_filter(rng.normal(size=(bands, SIDE, SIDE)), (0, 6, 6))
    smooth /= np.abs(smooth).max()
    noise = rng.normal(0, 0.03, smooth.shape)
    return (low + high) / 2 + (high - low) / 2 * (smooth + noise)


def digital(bands: int = 4) -> NDArray[np.uint16]:
    return ground(bands, 300, 4000).round().astype(np.uint16)


def backscatter(bands: int = 1) -> NDArray[np.float32]:
    return ground(bands, -22, -5).astype(np.float32)


def corner(values: NDArray[np.generic], fill: float, width: int = 24) -> NDArray[np.generic]:
    """Fill a triangle, as the edge of a swath cuts it."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    values[:, rows + cols < width] = fill
    return values


@pytest.mark.parametrize(
    ("values", "fill", "limits"),
    [
        (digital(), 1000, DIGITAL),
        (digital(2), 1000, DIGITAL),
        (digital(3).astype(np.int64), 0, DIGITAL),
        (digital(12), 7777, DIGITAL),
        (digital(1), 255, DIGITAL),
        (digital(1), 12345, (0.0, 65000.0)),
        (digital(1), 2000, DIGITAL),
        (digital(1).astype(np.float32) / 10000, 0.1, (0.0, 1.0)),
        (backscatter(), -25, DECIBEL),
        (backscatter(), 1, DECIBEL),
        (backscatter(2), -12.5, DECIBEL),
    ],
)
def test_fill_is_found(
    values: NDArray[np.generic], fill: float, limits: tuple[float, float]
) -> None:
    found = flat_area(corner(values, fill), NONE, limits)
    assert found is not None
    np.testing.assert_array_equal(found.values, np.full(len(values), fill, values.dtype))
    assert found.share == pytest.approx(300 / SIDE**2, abs=1e-3)
    assert f"{fill:g}" in str(found)


def test_fill_differs_between_bands() -> None:
    values = backscatter(3)
    values[:, :, :10] = np.array([-1.5, -0.5, 2.0])[:, None, None]
    found = flat_area(values, NONE, DECIBEL)
    assert found is not None
    assert found.values == (-1.5, -0.5, 2.0)


def test_hole_within_the_image() -> None:
    """Leave it alone in one band, where it may be a lake; bands of one number are no spectrum."""
    one, four = digital(1), digital()
    for values in (one, four):
        values[:, 20:40, 20:40] = 1000
    assert flat_area(one, NONE, DIGITAL) is None
    found = flat_area(four, NONE, DIGITAL)
    assert found is not None
    assert found.share == pytest.approx(400 / SIDE**2)


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_ground_has_no_fill(bands: int) -> None:
    assert flat_area(digital(bands), NONE, DIGITAL) is None
    assert flat_area(backscatter(bands), NONE, DECIBEL) is None
    # values of few numbers repeat by chance
    assert flat_area(digital(bands) // 300, NONE, DIGITAL) is None


def test_clipped_values_reach_their_limit_gradually() -> None:
    clouds = gaussian_filter(ground(4, 0, 12000), (0, 2, 2)).clip(0, 9000)
    assert (clouds == 9000).any()
    assert flat_area(clouds, NONE, DIGITAL) is None
    water = gaussian_filter(ground(1, -3000, 4000), (0, 2, 2)).clip(1).round()
    assert (water == 1).mean() > 0.1
    assert flat_area(water, NONE, DIGITAL) is None
    calm = backscatter(2).clip(-14)
    assert flat_area(calm, NONE, (-14.0, 10.0)) is None


def test_missing_and_single_values_are_left_out() -> None:
    values = corner(digital().astype(np.float32), np.nan)
    assert flat_area(values, np.isnan(values[0]), DIGITAL) is None
    assert flat_area(np.full((2, 8, 8), 1000.0), NONE[:8, :8], DIGITAL) is None
    picture = (digital(3) // 17).astype(np.uint8)
    assert flat_area(corner(picture, 30), NONE, (0.0, 300.0)) is None


@pytest.mark.parametrize("values", [digital(), backscatter(2), digital().astype(np.float64)])
def test_empty_block_of_one_band(values: NDArray[np.generic]) -> None:
    assert empty_block(values, NONE) is None
    values = values.copy()
    values[1, 32:, :16] = 0
    assert empty_block(values, NONE) == (1, 0.125)
    # dark ground has another outline, and all of a band may be 0
    values[1][np.add.outer(np.arange(SIDE), np.arange(SIDE)) < 24] = 0
    assert empty_block(values, NONE) is None
    values[1] = 0
    assert empty_block(values, NONE) is None


def test_empty_block_of_eight_bits() -> None:
    values = (digital(3) // 16).clip(0, 255).astype(np.uint8)
    values[2, :16] = 0
    assert empty_block(values, NONE) is None
