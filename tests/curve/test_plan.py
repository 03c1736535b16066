from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eocontrast.curve.plan import ArmPlan, TaskPlan, hold_out, interval, plan, saving
from eocontrast.curve.plan_arms import ArmRuns
from eocontrast.curve.power_law import NOISE_DECAY, Array
from eocontrast.runtime.errors import UserError

COUNTS = (10, 50, 200, 800)


def rows(
    arm: str,
    init: str,
    top: float,
    gain: float,
    decay: float,
    noise: float = 0.01,
    task: str = "crops",
) -> Iterator[str]:
    rng = np.random.default_rng([*arm.encode()])
    for n in COUNTS:
        for seed in range(3):
            value = top - gain * n**-decay + noise * (n / 10) ** -NOISE_DECAY * rng.normal()
            yield f"{task},{arm},{init},{n},{seed},F1,{np.clip(value, 0, 1):.5f}"


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two arms from labels alone, a pretrained one that needs a tenth, one that levels off."""
    lines = [
        *rows("worse", "random_a", 0.8, 1.0, 0.3),
        *rows("base", "random_a", 0.9, 1.0, 0.3),
        *rows("quick", "mma", 0.9, 1.0 * 10**-0.3, 0.3),
        *rows("flat", "mma", 0.5, 1.0, 1.0),
        *rows("other", "mma", 0.7, 0.5, 0.5, task="trees"),
    ]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["task,arm,init,n_labels,seed,metric,value", *lines]))
    return path


def planned(csv: Path, target: float) -> tuple[TaskPlan, dict[str, ArmPlan]]:
    (made,) = plan(csv, target, tasks=["crops"])
    return made, {arm.runs.name: arm for arm in made.arms}


def needed(target: float, top: float, gain: float, decay: float) -> float:
    return float((gain / (top - target)) ** (1 / decay))


def test_labels_within_data(
    csv: Path,
) -> None:
    target = 0.9 - 400**-0.3
    made, arms = planned(csv, target)
    assert made.best_supervised == "base"
    assert arms["base"].reach == arms["quick"].reach == "measured"
    for name, truth in (("base", 400), ("quick", 40)):
        labels = arms[name].labels_needed
        assert labels.low <= truth <= labels.high
        assert labels.value == pytest.approx(truth, rel=0.35)
    assert arms["base"].label_saving_factor is None
    quick = arms["quick"].label_saving_factor
    assert quick is not None
    assert not quick.at_least
    assert quick.value == pytest.approx(10, rel=0.4)
    assert quick.low < 10 < quick.high
    assert quick.low > 2
    assert made.arms[0].runs.name == "quick"  # fewest labels first


def test_target_above_top(csv: Path) -> None:
    made, arms = planned(csv, 0.75)
    assert arms["flat"].reach == "not reachable"
    assert arms["flat"].top.high < 0.75
    assert arms["flat"].labels_needed.value == np.inf
    assert arms["flat"].label_saving_factor is None
    assert made.arms[-1].runs.name == "flat"
    assert arms["base"].reach != "not reachable"  # its top is .9


def test_target_beyond_data(csv: Path) -> None:
    _, arms = planned(csv, 0.9 - 3000**-0.3)
    assert arms["base"].reach == "extrapolated"
    assert 800 < arms["base"].labels_needed.value <= 8000
    _, arms = planned(csv, 0.89)
    assert arms["base"].reach == "beyond"
    assert arms["base"].labels_needed.value == np.inf


def test_target_reached_by_fewest_labels(csv: Path) -> None:
    _, arms = planned(csv, 0.55)
    assert arms["quick"].labels_needed.value == 10
    assert arms["quick"].reach == "measured"
    assert arms["quick"].label_saving_factor is not None
    assert arms["quick"].label_saving_factor.at_least


def test_higher_target_needs_more(csv: Path) -> None:
    before = dict.fromkeys(("base", "quick", "flat", "worse"), (0.0, 0.0, 0.0))
    for target in (0.1, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9):
        _, arms = planned(csv, target)
        for name, arm in arms.items():
            ends = tuple(vars(arm.labels_needed).values())
            assert all(new >= old for new, old in zip(ends, before[name], strict=True))
            before[name] = ends


def test_doubling_labels(csv: Path) -> None:
    _, arms = planned(csv, 0.7)
    gain = 800**-0.3 - 1600**-0.3
    assert arms["base"].doubling_adds.low < gain < arms["base"].doubling_adds.high
    assert arms["base"].doubling_adds.value == pytest.approx(gain, abs=0.015)
    assert arms["flat"].doubling_adds.high < 0.02
    assert arms["base"].score_today.value == pytest.approx(0.9 - 800**-0.3, abs=0.02)


def test_hold_out_predicts_largest(csv: Path) -> None:
    _, arms = planned(csv, 0.7)
    test = arms["base"].held_out
    assert test is not None
    assert test.within
    assert test.measured == pytest.approx(0.9 - 800**-0.3, abs=0.02)
    assert test.low < test.value < test.high


def arm(scores: dict[float, list[float]]) -> ArmRuns:
    n_labels: Array = np.array([n for n, values in scores.items() for _ in values], dtype=float)
    flat: Array = np.array([value for values in scores.values() for value in values])
    return ArmRuns("a", "t", "F1", False, n_labels, flat, None, 0)


def test_hold_out_ignores_largest(csv: Path) -> None:
    seen = {10.0: [0.3, 0.32], 50.0: [0.4, 0.42], 200.0: [0.5, 0.51]}
    one, two = (hold_out(arm({**seen, 800.0: [last, last]})) for last in (0.55, 0.95))
    assert one is not None
    assert two is not None
    assert (one.low, one.value, one.high) == (two.low, two.value, two.high)
    assert one.within
    assert not two.within


def test_hold_out_needs_four_numbers() -> None:
    assert hold_out(arm({10: [0.3, 0.4], 50: [0.5, 0.5], 200: [0.5, 0.6]})) is None


def test_arms_are_independent(csv: Path) -> None:
    _, arms = planned(csv, 0.7)
    (made,) = plan(csv, 0.7, tasks=["crops"], arms=["quick"])
    assert [own.runs.name for own in made.arms] == ["quick"]
    assert made.best_supervised == "base"
    assert made.arms[0].labels_needed == arms["quick"].labels_needed
    assert made.arms[0].label_saving_factor == arms["quick"].label_saving_factor


def test_tasks_and_arms_by_name(csv: Path) -> None:
    assert [made.task for made in plan(csv, 0.6)] == ["crops", "trees"]
    (trees,) = plan(csv, 0.6, arms=["other"])
    assert (trees.task, trees.best_supervised) == ("trees", None)
    assert trees.arms[0].label_saving_factor is None
    with pytest.raises(UserError, match=r"has no task 'fields'; it has crops, trees"):
        plan(csv, 0.6, tasks=["fields"])
    with pytest.raises(UserError, match=r"has no arm 'other'; it has worse, base, quick, flat"):
        plan(csv, 0.6, tasks=["crops"], arms=["other"])


@pytest.mark.parametrize("target", [0, 1, -0.2, 75, float("nan")])
def test_target_outside_scores_is_refused(csv: Path, target: float) -> None:
    with pytest.raises(UserError, match=r"is no score between 0 and 1"):
        plan(csv, target)


# --- intervals with infinities


def test_interval_with_infinities() -> None:
    samples = np.array([np.inf] * 60 + [*range(141)], dtype=float)
    found = interval(np.random.default_rng(0).permutation(samples))
    assert (found.low, found.value, found.high) == (5, 100, np.inf)


def test_saving_bounds() -> None:
    own, other = np.full(100, 10.0), np.full(100, 80.0)
    even = saving(own, other, fewest=5, horizon=1000)
    assert even is not None
    assert (even.value, even.low, even.high, even.at_least) == (8, 8, 8, False)
    never = np.full(100, np.inf)
    assert saving(never, other, fewest=5, horizon=1000) is None
    endless = saving(own, never, fewest=5, horizon=1000)
    assert endless is not None
    assert endless.value == 100
    assert endless.high == np.inf
    assert endless.at_least
    # in every tenth replicate neither gets there: nothing is known of these
    where = np.arange(100) % 10 == 0
    unsure = saving(
        np.where(where, np.inf, own), np.where(where, np.inf, other), fewest=5, horizon=1000
    )
    assert unsure is not None
    assert (unsure.low, unsure.value, unsure.high) == (0, 8, np.inf)
    assert saving(np.full(9, 5.0), np.full(9, 5.0), fewest=5, horizon=1000) is None
