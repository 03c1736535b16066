import numpy as np
import pytest

from eocontrast.curve.bootstrap import Interval, Resampling
from eocontrast.evaluation.scores import Tally, scores

SEEDS = 3


def tallies(accuracy: float = 0.7, groups: int = 20, spread: float = 0.1, seed: int = 0) -> Tally:
    """Counts of three classes by seed and group, (3, G, 3, 4); groups are of unequal size, and each
    is easier or harder than the mean.
    """
    rng = np.random.default_rng(seed)
    found = np.zeros((SEEDS, groups, 3, 4))
    for number in range(groups):
        labels = rng.choice(3, 6 + number % 5, p=[0.5, 0.3, 0.2])
        ease = np.clip(accuracy + spread * rng.normal(), 0, 1)
        for run in range(SEEDS):
            hit = rng.random(len(labels)) < ease
            said = np.where(hit, labels, (labels + rng.integers(1, 3, len(labels))) % 3)
            for actual, predicted in zip(labels, said, strict=True):
                for k in range(3):
                    column = {(1, 1): 0, (0, 1): 1, (1, 0): 2, (0, 0): 3}
                    cell = column[int(actual == k), int(predicted == k)]
                    found[run, number, k, cell] += 1
    return found


def resampling(samples: int = 500, groups: int = 20, seed: int = 0) -> Resampling:
    return Resampling(groups, SEEDS, samples, seed=seed)


def test_the_estimate_is_the_plain_score_averaged_over_seeds() -> None:
    counts = tallies()
    value, _ = resampling().score(counts, "AA", exclusive=True)
    recalls = [run.sum(0)[:, 0] / (run.sum(0)[:, 0] + run.sum(0)[:, 2]) for run in counts]
    assert value == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize(("groups", "seeds"), [(1, 1), (1, 3), (20, 1)])
def test_what_cannot_be_resampled_gives_no_width(groups: int, seeds: int) -> None:
    counts = tallies(groups=groups)[:seeds]
    if seeds > 1:
        counts[:] = counts[:1]  # equal seeds
    if groups > 1:
        counts[:] = counts[:, :1]  # equal groups
    value, samples = Resampling(groups, seeds, 50).score(counts, "macro_F1", exclusive=True)
    assert samples.shape == (50,)
    np.testing.assert_allclose(samples, value)
    interval = Interval.of(value, samples)
    assert interval.low == pytest.approx(interval.high)


def test_drawing_every_group_and_seed_once_gives_the_estimate() -> None:
    draws = resampling()
    draws.weights[:] = 1
    draws.seed_draws[:] = [0.1, 0.5, 0.9]
    value, samples = draws.score(tallies(), "AA", exclusive=True)
    np.testing.assert_allclose(samples, value)


@pytest.mark.parametrize(("metric", "exclusive"), [("AA", True), ("mIoU", True), ("OA", False)])
def test_a_replicate_is_the_score_of_the_groups_and_seeds_it_drew(
    metric: str, exclusive: bool
) -> None:
    """A loop over the draws of numpy's generator, group by group."""
    counts = tallies()
    _, samples = resampling(samples=40).score(counts, metric, exclusive)
    rng = np.random.default_rng(0)
    drawn_groups = [[int(g) for g in row] for row in rng.integers(20, size=(40, 20))]
    rng.random((40, 1))  # of the one pretraining
    drawn_seeds = (rng.random((40, 1, SEEDS))[:, 0] * SEEDS).astype(int)
    for replicate in range(40):
        found = []
        for seed in drawn_seeds[replicate]:
            total = np.zeros((3, 4))
            for group in drawn_groups[replicate]:
                total += counts[seed, group]
            found.append(scores(total, exclusive)[metric])
        assert samples[replicate] == pytest.approx(np.mean(found))


def test_every_replicate_draws_as_many_groups_as_there_are() -> None:
    draws = resampling(samples=1000)
    assert draws.weights.shape == (1000, 20)
    assert (draws.weights.sum(1) == 20).all()
    assert draws.weights.mean(0) == pytest.approx(np.ones(20), abs=0.15)
    assert draws.seed_draws.shape == (1000, 1, SEEDS)


def test_a_class_that_a_replicate_misses_is_left_out_of_its_mean() -> None:
    """Class 2 is in the third group alone and always missed: replicates without it score 1."""
    counts = np.zeros((1, 3, 3, 4))
    counts[0, :2, :2] = [1, 0, 0, 1]
    counts[0, 2, 2], counts[0, 2, 0] = [0, 0, 1, 0], [0, 1, 0, 0]
    draws = Resampling(3, 1, 200)
    value, samples = draws.score(counts, "AA", exclusive=True)
    assert value == pytest.approx(2 / 3)
    without = draws.weights[:, 2] == 0
    assert 0 < without.sum() < 200
    assert (samples[without] == 1).all()
    assert (samples[~without] < 1).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = []
    for seed in range(40):
        counts = tallies(accuracy=0.7, groups=25, spread=0.1, seed=seed)
        interval = Interval.of(*resampling(200, 25, seed).score(counts, "AA", exclusive=True))
        covered.append(interval.low <= 0.7 <= interval.high)
    # binomial(40, 0.95): fewer than 32 in one of 10,000; 40 of 40 in one of eight
    assert sum(covered) >= 32


def test_more_groups_narrow_the_interval() -> None:
    widths = []
    for groups in (6, 60):
        counts = tallies(groups=groups)
        interval = Interval.of(*resampling(groups=groups).score(counts, "AA", exclusive=True))
        assert interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < 0.6 * widths[0]


def test_draws_are_the_same_for_every_arm_and_every_time() -> None:
    one, two = tallies(0.8, seed=1), tallies(0.8, seed=1)
    draws = resampling()
    first, second = (draws.score(counts, "AA", exclusive=True)[1] for counts in (one, two))
    np.testing.assert_array_equal(first - second, 0)
    again = resampling().score(two, "AA", exclusive=True)[1]
    np.testing.assert_array_equal(again, first)
    assert (resampling(seed=1).weights != draws.weights).any()


def test_a_group_that_no_arm_was_asked_in_changes_nothing() -> None:
    """A task without masks in one group is resampled along with the others."""
    counts = tallies()
    counts[:, 7] = 0
    value, samples = resampling().score(counts, "AA", exclusive=True)
    assert np.isfinite(samples).all()
    less = np.delete(counts, 7, axis=1)
    assert value == pytest.approx(resampling(groups=19).score(less, "AA", exclusive=True)[0])


def test_an_interval_leaves_out_a_fortieth_on_both_sides() -> None:
    interval = Interval.of(0.5, np.arange(1001) / 1000)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.025, 0.975))


def test_a_replicate_without_a_score_is_left_out_of_the_interval() -> None:
    samples = np.where(np.arange(2002) % 2, np.nan, np.arange(2002) / 2002)
    assert np.isfinite([Interval.of(0.5, samples).low, Interval.of(0.5, samples).high]).all()


def test_two_stage_draws_match_loop() -> None:
    """Two pretrainings with three and two seeds: a loop over the draws of the generator."""
    counts = np.concatenate([tallies(), tallies(0.5, seed=1)[:2]])
    origins = [0, 1, 0, 1, 0]
    draws = Resampling(20, 3, 60, pretrainings=2)
    draws.weights[:] = 1
    value, samples = draws.score(counts, "AA", True, origins)
    found = scores(counts.sum(1), True)["AA"]
    members = [[0, 2, 4], [1, 3]]
    for replicate in range(60):
        means = []
        for slot in range(2):
            seeds = members[int(2 * draws.pretraining_draws[replicate, slot])]
            picks = draws.seed_draws[replicate, slot, : len(seeds)] * len(seeds)
            means.append(np.mean([found[seeds[int(pick)]] for pick in picks]))
        assert samples[replicate] == pytest.approx(np.mean(means))
    assert value == pytest.approx(found.mean())


def test_unlike_pretrainings_widen_interval() -> None:
    """Each pretraining's seeds are equal: seeds drawn without their origins hide the difference."""
    good, poor = tallies(0.9)[0], tallies(0.5)[0]
    counts = np.stack([good, poor, good, poor])
    draws = Resampling(20, 4, 2000, pretrainings=2)
    draws.weights[:] = 1
    widths = []
    for origins in ([0, 1, 0, 1], None):
        widths.append(draws.score(counts, "AA", True, origins)[1].std())
    # two draws of two, against four draws of four
    assert widths[0] == pytest.approx(np.sqrt(2) * widths[1], rel=0.1)
