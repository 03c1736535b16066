import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.config.sources import SimulatedParams
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.normalisation.shift import (
    REACH,
    Shift,
    _log_likelihood,
    audit_shift,
    estimate_shift,
)
from eocontrast.rasters.read import read_raster
from eocontrast.sources.simulated import fetch

Values = NDArray[np.float64]
Pair = tuple[Values, Values]

SCENES = SimulatedParams(
    seed=5,
    patch_size=96,
    scene_size=2,
    labelled_scene_size=2,
    test_patches=0,
    pretrain_scenes=1,
    train_scenes=8,
    test_scenes=1,
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Simulated S1 and S2 of 96 x 96 pixels, aligned; each class is the main one of four."""
    folder = tmp_path_factory.mktemp("simulated")
    rows = fetch(folder, SCENES, workers=1).manifest
    return [
        (read_raster(folder / s1, SENTINEL1).values, read_raster(folder / s2, SENTINEL2_L1C).values)
        for s1, s2 in zip(rows["s1"], rows["s2"], strict=True)
    ]


def moved(pair: Pair, dy: int, dx: int, size: int = 64) -> Pair:
    """A window of both, S1's content `dy` rows below and `dx` columns right of S2's."""
    s1, s2 = pair
    return s1[:, 8 - dy : 8 - dy + size, 8 - dx : 8 - dx + size], s2[:, 8 : 8 + size, 8 : 8 + size]


def textured(seed: int = 0, size: int = 64) -> Pair:
    """S2 of random blocks of 4 x 4 pixels, and S1 that depends on it, with speckle."""
    rng = np.random.default_rng(seed)
    blocks = rng.normal(size=(2, size // 4 + 8, size // 4 + 8)).repeat(4, 1).repeat(4, 2)
    s2 = 1500 + 300 * np.concatenate([blocks, -blocks]) + rng.normal(size=(4, *blocks.shape[1:]))
    s1 = -15 + 2 * blocks + 2 * rng.normal(size=blocks.shape)
    return s1, s2


def drawn(pairs: list[Pair], seed: int) -> Iterator[tuple[Shift, int, int]]:
    rng = np.random.default_rng(seed)
    for pair in pairs:
        dy, dx = (int(step) for step in rng.integers(-6, 7, 2))
        yield estimate_shift(*moved(pair, dy, dx)), dy, dx


def test_known_shifts_of_simulated_pairs_are_recovered(pairs: list[Pair]) -> None:
    found = [each for seed in range(3) for each in drawn(pairs, seed) if each[0].known]
    off = np.array([max(abs(shift.dy - dy), abs(shift.dx - dx)) for shift, dy, dx in found])
    assert len(found) > 0.4 * 3 * len(pairs)
    assert (off <= 1).mean() >= 0.95
    assert (off <= 2).all()


def test_two_places_show_no_shift(pairs: list[Pair]) -> None:
    known = [
        estimate_shift(s1, s2).known
        for k, (s1, _) in enumerate(pairs)
        for _, s2 in [pairs[(k + 5) % len(pairs)], pairs[(k + 14) % len(pairs)]]
    ]
    assert sum(known) <= 1


def test_simulated_pairs_raise_no_warning(pairs: list[Pair]) -> None:
    found = [finding for pair in pairs for finding in audit_shift("a", *moved(pair, 0, 0))]
    assert {finding.severity for finding in found} <= {"note"}
    assert len(found) < 0.6 * len(pairs)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, 0), (0, -4), (-6, 5), (6, 6)])
def test_the_sign_of_a_shift_is_that_of_the_content(dy: int, dx: int) -> None:
    shift = estimate_shift(*moved(textured(), dy, dx))
    assert shift.known
    assert (shift.dy, shift.dx) == pytest.approx((dy, dx), abs=0.3)


def test_fractions_of_a_pixel_are_seen() -> None:
    """Half a pixel is the mean of two neighbours."""
    s1, s2 = textured()
    half = (s1 + np.roll(s1, 1, axis=2)) / 2
    shift = estimate_shift(*moved((half, s2), 2, 0))
    assert (shift.dy, shift.dx) == pytest.approx((2, 0.5), abs=0.3)


def test_units_and_offsets_do_not_matter() -> None:
    s1, s2 = moved(textured(), 3, -2)
    one, other = estimate_shift(s1, s2), estimate_shift(s1 + 7, s2 / 10000)
    assert vars(one) == pytest.approx(vars(other))


def test_where_data_are_missing_the_rest_decides() -> None:
    s1, s2 = moved(textured(), 3, -2)
    s1[:, :20], s2[:, :, 50:] = np.nan, np.nan
    shift = estimate_shift(s1, s2)
    assert shift.known
    assert (shift.dy, shift.dx) == pytest.approx((3, -2), abs=0.5)


def speckle(size: int) -> Values:
    rng = np.random.default_rng(1)
    return 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (2, size, size))) - 20


def noise(size: int) -> Values:
    return np.random.default_rng(2).normal(400, 15, (4, size, size))


@pytest.mark.parametrize(
    "pair",
    [
        (speckle(64), noise(64)),
        (speckle(64), np.full((4, 64, 64), 300.0)),
        (speckle(64), np.zeros((4, 64, 64))),
        (np.full((2, 64, 64), -15.0), noise(64)),
        (np.full((2, 64, 64), np.nan), noise(64)),
        (speckle(31), noise(31)),
    ],
    ids=["water", "flat s2", "black s2", "flat s1", "no data", "too small"],
)
def test_without_structure_nothing_is_known(pair: Pair) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not estimate_shift(*pair).known
    (finding,) = audit_shift("a", *pair)
    assert (finding.rule, finding.severity) == ("shift", "note")
    assert "no evidence" in finding.message


def test_a_shift_beyond_reach_is_not_known() -> None:
    s1, s2 = textured(size=96)
    beyond = REACH + 4
    shift = estimate_shift(s1[:, 14 - beyond : 78 - beyond, 14:78], s2[:, 14:78, 14:78])
    assert not shift.known


def test_more_than_two_pixels_are_a_warning_that_says_how_far() -> None:
    assert audit_shift("a", *moved(textured(), 1, -2)) == []
    (finding,) = audit_shift("a", *moved(textured(), 4, -3))
    assert (finding.id, finding.rule, finding.severity) == ("a", "shift", "warning")
    assert "+4.0 rows and -3.0 columns" in finding.message


def test_the_likelihood_of_white_noise_is_that_of_the_slices() -> None:
    """By moving windows instead of Fourier transforms; white predictors have no Bartlett factor."""
    rng = np.random.default_rng(3)
    predictors = rng.normal(size=(3, 48, 48))
    band = np.zeros((48, 48))
    inner = slice(REACH, -REACH)
    band[inner, inner] = (predictors[0] + predictors[1])[inner, inner] + rng.normal(size=(32, 32))
    found = _log_likelihood(band[None], predictors)
    values = band[inner, inner]
    expected = np.empty_like(found)
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            rows, columns = (slice(REACH - d, 48 - REACH - d) for d in (dy, dx))
            covariance = (predictors[:, rows, columns] * values).mean(axis=(1, 2))
            share = (covariance**2).sum() / (values**2).mean()
            expected[dy + REACH, dx + REACH] = -0.5 * values.size * np.log1p(-share)
    ratio = found / expected
    np.testing.assert_allclose(ratio, ratio[0, 0])  # the factor is one for the whole band
    assert 0.9 < ratio[0, 0] <= 1
