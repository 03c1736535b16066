"""How many labels pretraining saves: the one number that a project with few labels asks for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def labels_needed(
    n_labels: NDArray[np.float64], scores: NDArray[np.float64], target: float
) -> float:
    """Fewest labels at which a curve reaches `target`, straight between its points over log labels.

    Args:
        n_labels: labels at each point, rising, (P,).
        scores: score at each point, (P,).
        target: score to reach.

    Returns:
        Labels; the first point's where that already reaches the target (so fewer may do), and
        infinity where no point does.
    """
    reached = np.flatnonzero(scores >= target)
    if len(reached) == 0:
        return np.inf
    first = int(reached[0])
    if first == 0:
        return float(n_labels[0])
    low, high = np.log(n_labels[first - 1]), np.log(n_labels[first])
    share = (target - scores[first - 1]) / (scores[first] - scores[first - 1])
    return float(np.exp(low + share * (high - low)))


def label_saving_factor(
    n_labels: NDArray[np.float64], scores: NDArray[np.float64], target: float, paid: float
) -> float:
    """Labels that the best supervised arm uses, over labels this arm needs for the same score.

    Args:
        n_labels: labels at each point of this arm, rising.
        scores: its scores there.
        target: the supervised score at all labels.
        paid: the labels that took.

    Returns:
        The factor; 0 where the arm never reaches the target.
    """
    return paid / labels_needed(n_labels, scores, target)
