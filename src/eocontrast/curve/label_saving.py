"""The label-saving factor: how many labels pretraining saves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def labels_needed(
    n_labels: NDArray[np.float64], scores: NDArray[np.float64], target: float
) -> float:
    """Return the fewest labels at which a curve reaches a target.

    The curve is straight between its points over log labels.

    Args:
        n_labels: Labels at each point, rising, (P,).
        scores: Score at each point, (P,).
        target: Score to reach.

    Returns:
        Labels. They are those of the first point if it reaches the target, so fewer may do, and
        infinite if no point does.
    """
    reached = np.flatnonzero(scores >= target)
    if len(reached) == 0:
        return np.inf
    first = int(reached[0])
    if first == 0:
        return float(n_labels[0])
    # over the logarithm of the labels, on which curves are nearly straight
    low, high = np.log(n_labels[first - 1]), np.log(n_labels[first])
    share = (target - scores[first - 1]) / (scores[first] - scores[first - 1])
    return float(np.exp(low + share * (high - low)))


def label_saving_factor(
    n_labels: NDArray[np.float64], scores: NDArray[np.float64], target: float, paid: float
) -> float:
    """Divide the labels of the best supervised arm by those that this arm needs for its score.

    Args:
        n_labels: Labels at each point of this arm, rising.
        scores: Scores of this arm there.
        target: Score of the supervised arm with all labels.
        paid: Number of all labels.

    Returns:
        The factor, 0 if the arm never reaches the target.
    """
    return paid / labels_needed(n_labels, scores, target)
