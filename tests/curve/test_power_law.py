import numpy as np
import pytest

from eocontrast.curve.power_law import DECAYS, NOISE, NOISE_DECAY, SHARED, Array, Curves, fit

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
    curves = fit(LABELS, scores, 300, rng())
    needed = np.stack([curves.labels_needed(target) for target in np.linspace(0.2, 0.95, 30)])
    with np.errstate(invalid="ignore"):
        assert not (np.diff(needed, axis=0) < 0).any()
    assert (needed[-1] > needed[0]).all()


# --- the posterior


def test_curves_rise_within_bounds() -> None:
    for seed in range(10):
        scores, _ = runs(0.95, 0.05, 0.5, 0.08, seed)
        curves = fit(LABELS, np.clip(scores, 0, 1), 300, rng())
        assert (curves.gain >= 0).all()
        assert (curves.top <= 1 + 1e-12).all()
        assert (curves.scores(9) >= -1e-12).all()
        assert set(curves.decay) <= set(DECAYS)


def test_exact_scores_give_parameters() -> None:
    labels = np.repeat(np.geomspace(5, 5000, 12), 4)
    top, gain, decay = 0.8, 1.1, float(DECAYS[13])
    curves = fit(labels, power_law(labels, top, gain, decay), 400, rng())
    assert np.median(curves.top) == pytest.approx(top, abs=0.01)
    assert np.median(curves.gain) == pytest.approx(gain, rel=0.05)
    assert np.median(curves.decay) == pytest.approx(decay, rel=0.05)
    assert np.quantile(curves.top, 0.975) - np.quantile(curves.top, 0.025) < 0.05


def ends_by_grid(labels: Array, scores: Array, decay: float) -> tuple[float, float]:
    """Posterior means of the scores at both ends for one decay, summed over a fine grid."""
    weight = (labels / labels.min()) ** NOISE_DECAY
    together = np.eye(len(labels)) + SHARED * (labels[:, None] == labels)
    precision = weight[:, None] * np.linalg.inv(together) * weight
    low, high = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, 1, 201), indexing="ij")
    first, last = labels.min() ** -decay, labels.max() ** -decay
    gain = (high - low) / (first - last)
    top = low + gain * first
    misses = scores - (top[..., None] - gain[..., None] * labels**-decay)
    squares = np.einsum("...i,ij,...j", misses, precision, misses) + NOISE**2
    # sigma integrated out under 1 / sigma, with one more observation of NOISE
    odds = squares ** (-(len(labels) + 1) / 2) * ((low <= high) & (top <= 1))
    odds /= odds.sum()
    return float((odds * low).sum()), float((odds * high).sum())


def test_draws_match_posterior_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for decay in (0.1, 0.5):
        monkeypatch.setattr("eocontrast.curve.power_law.DECAYS", np.array([decay]))
        scores, _ = runs(0.8, 0.3, decay, 0.04, 3)
        curves = fit(LABELS, scores, 4000, rng())
        low, high = ends_by_grid(LABELS, scores, decay)
        assert curves.scores(9).mean() == pytest.approx(low, abs=0.004)
        assert curves.scores(864).mean() == pytest.approx(high, abs=0.004)


def test_fitting_decays_drawn_often() -> None:
    labels = np.repeat(np.geomspace(5, 5000, 8), 3)
    for decay in (DECAYS[4], DECAYS[16]):
        scores, _ = runs(0.7, 0.2, float(decay), 0.01, 0, labels)
        drawn = fit(labels, scores, 500, rng()).decay
        assert abs(np.log(np.median(drawn) / decay)) < 0.35


def test_rows_give_neighbouring_draws() -> None:
    scores = np.stack([runs(top, 0.2, 0.5, 0.02, 0)[0] for top in (0.5, 0.8)])
    ends = fit(LABELS, scores, 100, rng()).scores(864)
    assert np.median(ends[:100]) == pytest.approx(np.median(scores[0, -3:]), abs=0.05)
    assert np.median(ends[100:]) == pytest.approx(np.median(scores[1, -3:]), abs=0.05)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_equal_scores_are_a_flat_curve_of_some_width(level: float) -> None:
    curves = fit(LABELS, np.full(12, level), 500, rng())
    for n_labels in (9, 864):
        assert np.median(curves.scores(n_labels)) == pytest.approx(level, abs=0.02)
        assert curves.scores(n_labels).std() > 0.0003


def test_a_falling_curve_is_taken_as_flat() -> None:
    curves = fit(LABELS, 0.6 - 0.1 * np.log10(LABELS), 300, rng())
    assert (curves.gain >= 0).all()
    assert np.median(curves.gain) == 0
    assert np.median(curves.top) == pytest.approx((0.6 - 0.1 * np.log10(LABELS)).mean(), abs=0.04)


def test_more_seeds_narrow_the_interval_but_never_to_nothing() -> None:
    """What all seeds at one number of labels share does not average out."""
    widths = []
    for seeds in (3, 12, 300):
        labels = np.repeat([9.0, 86.0, 432.0, 864.0], seeds)
        drawn = [
            fit(labels, runs(0.7, 0.2, 0.4, 0.04, world, labels)[0], 300, rng()).scores(864)
            for world in range(8)
        ]
        widths.append(np.mean([np.quantile(d, 0.975) - np.quantile(d, 0.025) for d in drawn]))
    assert widths[0] > 1.1 * widths[1]
    assert widths[2] > 0.5 * widths[0]


def test_the_interval_of_a_measurement_has_room_for_its_noise() -> None:
    scores, _ = runs(0.7, 0.2, 0.4, 0.04, 1)
    curves = fit(LABELS, scores, 2000, rng())
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


def coverage(shared: float, curves: int = 120) -> Array:
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
        fitted = fit(LABELS, scores, 500, draw)
        truth = made(top, gain, decay)
        targets = [float(truth.scores(n)[0]) for n in (400, 3000)]
        asked = zip(answers(fitted, targets), answers(truth, targets), strict=True)
        found.append([covers(samples, float(true[0])) for samples, true in asked])
    covered: Array = np.array(found, dtype=float).mean(axis=0)
    return covered


@pytest.mark.parametrize("shared", [0.0, SHARED])
def test_intervals_cover_about_as_often_as_they_say(shared: float) -> None:
    covered = coverage(shared)
    # binomial(120, .95): fewer than 107 in one of 300 each
    assert (covered >= 107 / 120).all(), covered
    assert covered.mean() <= 0.995, covered  # nor do they say nothing
