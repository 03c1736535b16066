import numpy as np
import pytest

from eocontrast.curve.label_saving import label_saving_factor, labels_needed

LABELS = np.array([10.0, 100.0, 1000.0])


@pytest.mark.parametrize(
    ("target", "needed"),
    [(0.6, 100.0), (0.8, 1000.0), (0.5, 10**1.5), (0.65, 10**2.25), (0.4, 10.0)],
)
def test_between_points_the_curve_is_straight_over_log_labels(target: float, needed: float) -> None:
    scores = np.array([0.4, 0.6, 0.8])
    assert labels_needed(LABELS, scores, target) == pytest.approx(needed)


def test_a_target_below_the_first_point_needs_at_most_its_labels() -> None:
    assert labels_needed(LABELS, np.array([0.4, 0.6, 0.8]), 0.1) == 10


def test_a_target_never_reached_needs_infinitely_many_and_saves_nothing() -> None:
    scores = np.array([0.4, 0.6, 0.8])
    assert labels_needed(LABELS, scores, 0.81) == np.inf
    assert label_saving_factor(LABELS, scores, 0.81, 1000) == 0


def test_the_first_crossing_counts_where_a_curve_falls_again() -> None:
    assert labels_needed(LABELS, np.array([0.4, 0.7, 0.5]), 0.7) == pytest.approx(100)
    assert labels_needed(LABELS, np.array([0.7, 0.3, 0.9]), 0.6) == 10


def test_a_flat_curve_at_the_target_needs_the_fewest() -> None:
    assert labels_needed(LABELS, np.array([0.5, 0.5, 0.5]), 0.5) == 10


@pytest.mark.parametrize(("target", "factor"), [(0.6, 10), (0.8, 1), (0.4, 100)])
def test_the_factor_is_labels_paid_over_labels_needed(target: float, factor: float) -> None:
    scores = np.array([0.4, 0.6, 0.8])
    assert label_saving_factor(LABELS, scores, target, 1000) == pytest.approx(factor)


def test_one_point_is_a_curve() -> None:
    assert label_saving_factor(np.array([50.0]), np.array([0.6]), 0.6, 100) == 2
    assert label_saving_factor(np.array([50.0]), np.array([0.6]), 0.7, 100) == 0
