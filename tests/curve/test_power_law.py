import numpy as np
import pytest

from eocontrast.curve.power_law import DECAYS, NOISE_DECAY, SHARED, Array, Curves, fit

LABELS = np.repeat([9.0, 86.0, 432.0, 864.0], 3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def power_law(n_labels: Array | float, top: float, gain: float, decay: float) -> Array:
    return np.asarray(top - gain * np.asarray(n_labels, dtype=np.float64) ** -decay)


def runs(
    top: float, low: float, decay: float, noise: float, seed: int, labels: Array = LABELS
) -> tuple[Array, float]:
    """Scores of single runs around a curve that starts at `low`, and its gain."""
    gain = (top - low) * labels.min() ** decay
    spread = noise * (labels / labels.min()) ** -NOISE_DECAY
    return power_law(labels, top, gain, decay) + spread * rng(seed).normal(size=len(labels)), gain


def made(top: float, gain: float, decay: float, fewest: float = 9.0) -> Curves:
    tops, gains, decays, noises = np.array([[top], [gain], [decay], [0.03]])
    return Curves(tops, gains, decays, noises, fewest)


# --- the curve and its inverse


@pytest.mark.parametrize(
    ("top", "gain", "decay"), [(0.9, 1.0, 0.2), (0.6, 0.8, 0.9), (1, 0.7, 0.05)]
)
@pytest.mark.parametrize("n_labels", [9.0, 100.0, 864.0, 1e6])
def test_labels_needed_inverts_scores(
    top: float, gain: float, decay: float, n_labels: float
) -> None:
    curve = made(top, gain, decay)
    (score,) = curve.scores(n_labels)
    assert score == pytest.approx(top - gain / n_labels**decay)
    assert curve.labels_needed(score)[0] == pytest.approx(n_labels, rel=1e-6)


def test_labels_needed_at_least_fewest() -> None:
    assert made(0.9, 1.0, 0.2).labels_needed(0.01)[0] == 9


def test_target_above_top_unreachable() -> None:
    curve = made(0.9, 1.0, 0.2)
    assert curve.labels_needed(0.9)[0] == curve.labels_needed(0.95)[0] == np.inf


def test_labels_needed_by_flat_curve() -> None:
    flat = made(0.5, 0.0, 0.3)
    assert flat.labels_needed(0.4)[0] == 9
    assert flat.labels_needed(0.5)[0] == flat.labels_needed(0.6)[0] == np.inf


def test_target_below_top_overflows_quietly() -> None:
    assert made(0.5, 0.9, 0.05).labels_needed(0.5 - 1e-16)[0] == np.inf


def test_labels_needed_rise_with_target() -> None:
    scores, _ = runs(0.8, 0.3, 0.4, 0.03, 0)
    curves = fit(LABELS, scores, 100, rng())
    needed = np.stack([curves.labels_needed(target) for target in np.linspace(0.2, 0.95, 30)])
    with np.errstate(invalid="ignore"):
        assert not (np.diff(needed, axis=0) < 0).any()
    assert (needed[-1] > needed[0]).all()


# --- fits


def test_curves_rise_within_bounds() -> None:
    for seed in range(3):
        scores, _ = runs(0.95, 0.05, 0.5, 0.08, seed)
        curves = fit(LABELS, np.clip(scores, 0, 1), 100, rng())
        assert (curves.gain >= 0).all()
        assert (curves.top <= 1 + 1e-12).all()
        assert (curves.scores(9) >= -1e-12).all()
        assert (curves.decay >= DECAYS[0] - 1e-12).all()
        assert (curves.decay <= DECAYS[1] + 1e-12).all()


def test_exact_scores_give_parameters() -> None:
    labels = np.repeat(np.geomspace(5, 5000, 12), 4)
    top, gain, decay = 0.8, 1.1, 0.4
    curves = fit(labels, power_law(labels, top, gain, decay), 100, rng())
    assert np.median(curves.top) == pytest.approx(top, abs=0.01)
    assert np.median(curves.gain) == pytest.approx(gain, rel=0.05)
    assert np.median(curves.decay) == pytest.approx(decay, rel=0.05)
    assert np.quantile(curves.top, 0.975) - np.quantile(curves.top, 0.025) < 0.05


def test_fits_are_least_squares() -> None:
    """No point of a grid misses the scores by less than the fit without noise."""
    scores, _ = runs(0.8, 0.3, 0.5, 0.04, 3)
    curves = fit(LABELS, np.stack([scores] * 2), 100, rng())
    labels, means = np.unique(LABELS), scores.reshape(4, 3).mean(axis=1)
    weight = labels ** (2 * NOISE_DECAY)
    misses = [np.stack([curves.scores(n) for n in labels], 1).mean(0) - means]
    low, top, decay = np.meshgrid(
        np.linspace(0.1, 0.5, 41), np.linspace(0.4, 1, 61), np.geomspace(*DECAYS, 40)
    )
    shape = ((labels / 9) ** -decay[..., None])[..., :]
    grid = ((top[..., None] - (top - low)[..., None] * shape - means) ** 2 * weight).sum(-1)
    # the mean of 200 fits to noisy copies lies near the best fit
    assert (misses[0] ** 2 * weight).sum() < grid.min() + 0.003 * weight.sum()


def test_rows_give_neighbouring_draws() -> None:
    scores = np.stack([runs(top, 0.2, 0.5, 0.02, 0)[0] for top in (0.5, 0.8)])
    ends = fit(LABELS, scores, 100, rng()).scores(864)
    assert np.median(ends[:100]) == pytest.approx(np.median(scores[0, -3:]), abs=0.05)
    assert np.median(ends[100:]) == pytest.approx(np.median(scores[1, -3:]), abs=0.05)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_equal_scores_keep_width(level: float) -> None:
    curves = fit(LABELS, np.full(12, level), 200, rng())
    for n_labels in (9, 864):
        assert np.median(curves.scores(n_labels)) == pytest.approx(level, abs=0.02)
        assert curves.scores(n_labels).std() > 0.0003


def test_falling_scores_give_flat_curve() -> None:
    curves = fit(LABELS, 0.6 - 0.1 * np.log10(LABELS), 100, rng())
    assert (curves.gain >= 0).all()
    assert np.median(curves.scores(864) - curves.scores(9)) < 0.02
    assert np.median(curves.top) == pytest.approx((0.6 - 0.1 * np.log10(LABELS)).mean(), abs=0.04)


def test_more_seeds_narrow_interval() -> None:
    """What all seeds at one number of labels share does not average out."""
    widths = []
    for seeds in (3, 12, 300):
        labels = np.repeat([9.0, 86.0, 432.0, 864.0], seeds)
        drawn = [
            fit(labels, runs(0.7, 0.2, 0.4, 0.04, world, labels)[0], 100, rng()).scores(864)
            for world in range(8)
        ]
        widths.append(np.mean([np.quantile(d, 0.975) - np.quantile(d, 0.025) for d in drawn]))
    assert widths[0] > 1.1 * widths[1]
    assert widths[2] > 0.5 * widths[0]


def test_measurement_interval_includes_noise() -> None:
    scores, _ = runs(0.7, 0.2, 0.4, 0.04, 1)
    curves = fit(LABELS, scores, 300, rng())
    expected, one, many = (
        curves.scores(864),
        curves.measured(864, 1, rng()),
        curves.measured(864, 100, rng()),
    )
    assert one.std() > many.std() > expected.std()


# --- what the intervals promise


def answers(curves: Curves, targets: list[float]) -> list[Array]:
    """Scores inside, at the end of and beyond the data, doubling, and labels for targets."""
    doubling = curves.scores(1728) - curves.scores(864)
    scores = [curves.scores(n) for n in (300, 864, 4000)]
    return [*scores, doubling, *(curves.labels_needed(target) for target in targets)]


def covers(samples: Array, true: float) -> bool:
    ordered, share = np.sort(samples), len(samples) // 40
    low, high = ordered[share - 1], ordered[-share]
    return bool(low * (1 - 1e-9) <= true <= high * (1 + 1e-9))


def coverage(shared: float, curves: int = 40) -> Array:
    """How often the true answers lie in their 95 % intervals.

    Curves of all kinds: tops of .4 to .95, decays from slow to fast, seeds that differ by .02 to
    .07, and points that lie off the curve by `shared` of that variance.
    """
    found = []
    for number in range(curves):
        draw = rng(number)
        top = draw.uniform(0.4, 0.95)
        low, decay = draw.uniform(0.1, top - 0.1), draw.uniform(0.08, 1.5)
        noise = draw.uniform(0.02, 0.07)
        scores, gain = runs(top, low, decay, noise, 1000 + number)
        spread = noise * np.unique(LABELS / 9) ** -NOISE_DECAY
        scores = scores + np.repeat(np.sqrt(shared) * spread * draw.normal(size=4), 3)
        fitted = fit(LABELS, scores, 80, draw)
        truth = made(top, gain, decay)
        targets = [float(truth.scores(n)[0]) for n in (400, 3000)]
        asked = zip(answers(fitted, targets), answers(truth, targets), strict=True)
        found.append([covers(samples, float(true[0])) for samples, true in asked])
    covered: Array = np.array(found, dtype=float).mean(axis=0)
    return covered


@pytest.mark.parametrize("shared", [0.0, SHARED])
def test_intervals_cover_the_truth(shared: float) -> None:
    covered = coverage(shared)
    # binomial(40, 0.95): fewer than 33 in one of 1,000 each
    assert (covered > 32 / 40).all(), covered
    if shared:
        assert covered.mean() <= 0.995, covered  # wider intervals would say nothing
