import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from eocontrast.bootstrap import Interval, Resampling

SEEDS = (0, 1, 2)


def predictions(
    accuracy: float = 0.7, groups: int = 20, spread: float = 0.1, seed: int = 0
) -> pd.DataFrame:
    """Three classes in groups of unequal size; each group is easier or harder than the mean."""
    rng = np.random.default_rng(seed)
    tables = []
    for number in range(groups):
        labels = rng.choice(3, 6 + number % 5, p=[0.5, 0.3, 0.2])
        ease = np.clip(accuracy + spread * rng.normal(), 0, 1)
        for run in SEEDS:
            hit = rng.random(len(labels)) < ease
            predicted = np.where(hit, labels, (labels + rng.integers(1, 3, len(labels))) % 3)
            tables.append(
                pd.DataFrame(
                    {
                        "seed": run,
                        "group": f"g{number:02d}",
                        "label": labels,
                        "prediction": predicted,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def resampling(table: pd.DataFrame, samples: int = 500, seed: int = 0) -> Resampling:
    return Resampling(table["group"].to_numpy(dtype=object), SEEDS, samples, seed)


def test_the_estimate_is_the_plain_score_averaged_over_seeds() -> None:
    table = predictions()
    value, _ = resampling(table).average_accuracy(table, 3)
    runs = [table[table["seed"] == seed] for seed in SEEDS]
    expected = np.mean([balanced_accuracy_score(r["label"], r["prediction"]) for r in runs])
    assert value == pytest.approx(expected)


def test_drawing_every_group_and_seed_once_gives_the_estimate() -> None:
    table = predictions()
    draws = resampling(table)
    draws.weights[:] = 1
    draws.seed_draws[:] = [0, 1, 2]
    value, samples = draws.average_accuracy(table, 3)
    np.testing.assert_allclose(samples, value)


@pytest.mark.parametrize("replicate", [0, 3, 99])
def test_a_replicate_is_the_score_of_the_groups_and_seeds_it_drew(replicate: int) -> None:
    table = predictions()
    draws = resampling(table)
    _, samples = draws.average_accuracy(table, 3)
    scores = []
    for drawn in draws.seed_draws[replicate]:
        run = table[table["seed"] == SEEDS[drawn]]
        parts = [
            run[run["group"] == group]
            for group, times in zip(draws.groups, draws.weights[replicate], strict=True)
            for _ in range(int(times))
        ]
        drawn_run = pd.concat(parts)
        scores.append(balanced_accuracy_score(drawn_run["label"], drawn_run["prediction"]))
    assert samples[replicate] == pytest.approx(np.mean(scores))


def test_every_replicate_draws_as_many_groups_as_there_are() -> None:
    draws = resampling(predictions(), samples=1000)
    assert draws.weights.shape == (1000, 20)
    assert (draws.weights.sum(1) == 20).all()
    assert draws.weights.mean(0) == pytest.approx(np.ones(20), abs=0.15)
    assert draws.seed_draws.min() == 0
    assert draws.seed_draws.max() == 2


def test_a_class_that_a_replicate_misses_is_left_out_of_its_mean() -> None:
    """Class 2 is in one group alone and always wrong: replicates without it score 1."""
    table = pd.DataFrame(
        {
            "seed": 0,
            "group": ["a", "a", "b", "b", "c"],
            "label": [0, 1, 0, 1, 2],
            "prediction": [0, 1, 0, 1, 0],
        }
    )
    draws = Resampling(table["group"].to_numpy(dtype=object), (0,), 200)
    value, samples = draws.average_accuracy(table, 3)
    assert value == pytest.approx(2 / 3)
    without = (draws.weights[:, 2] == 0) & (draws.weights[:, :2].sum(1) > 0)
    assert 0 < without.sum() < 200
    assert (samples[without] == 1).all()
    assert (samples[~without] < 1).all()


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = []
    for seed in range(40):
        table = predictions(accuracy=0.7, groups=25, spread=0.1, seed=seed)
        value, samples = resampling(table, 200, seed).average_accuracy(table, 3)
        interval = Interval.of(value, samples)
        covered.append(interval.low <= 0.7 <= interval.high)
    # binomial(40, 0.95): fewer than 32 in one of 10,000; 40 of 40 in one of eight
    assert sum(covered) >= 32


def test_more_groups_narrow_the_interval() -> None:
    widths = []
    for groups in (6, 60):
        table = predictions(groups=groups)
        interval = Interval.of(*resampling(table).average_accuracy(table, 3))
        assert interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < 0.6 * widths[0]


def test_draws_are_the_same_for_every_arm_and_every_time() -> None:
    one, two = predictions(0.8, seed=1), predictions(0.8, seed=1)
    draws = resampling(one)
    first, second = (draws.average_accuracy(table, 3)[1] for table in (one, two))
    np.testing.assert_array_equal(first - second, 0)
    np.testing.assert_array_equal(resampling(two).average_accuracy(two, 3)[1], first)
    assert (resampling(two, seed=1).weights != draws.weights).any()


def test_the_order_of_rows_does_not_matter() -> None:
    table = predictions()
    shuffled = table.sample(frac=1, random_state=0)
    one = resampling(table).average_accuracy(table, 3)
    two = resampling(shuffled).average_accuracy(shuffled, 3)
    np.testing.assert_allclose(one[1], two[1])


def test_an_interval_leaves_out_a_fortieth_on_both_sides() -> None:
    interval = Interval.of(0.5, np.arange(1001) / 1000)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.025, 0.975))
