"""Blocks of patches that are trained on or tested on, with a gap between the two."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from eocontrast.runtime.errors import UserError

DRAWS = 4000
"""Divisions that are tried; the best one counts."""


def choose_tested(amounts: NDArray[np.floating], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose the blocks to test on, so that each class is near its share in both parts.

    Args:
        amounts: Labels of each class in each block, shape (blocks, classes).
        share: Share of the labels to test on.
        seed: Seed of the divisions that are tried.

    Returns:
        Whether each block is tested on. Blocks without labels are not.

    Raises:
        UserError: fewer than two blocks have labels.
    """
    labelled = np.flatnonzero(amounts.sum(1))
    if len(labelled) < 2:
        raise UserError(
            f"{len(labelled)} block has labels, and one must be trained on and another tested on; "
            "choose a smaller --block, or label ground further apart"
        )
    rng = np.random.default_rng(seed)
    held = amounts[labelled] / np.maximum(amounts.sum(0), 1e-12)
    sizes = rng.integers(1, len(labelled), DRAWS)
    ranks = np.argsort(rng.random((DRAWS, len(labelled))), axis=1).argsort(axis=1)
    tested = ranks < sizes[:, None]
    # a class that is missing on one side weighs as much as one that is wholly on the wrong side
    shares = tested @ held
    present = amounts.sum(0) > 0
    missing = ((shares < 1e-9) | (shares > 1 - 1e-9)) & present
    cost = (np.abs(shares - share) * present + missing).sum(1)
    chosen = np.zeros(len(amounts), bool)
    chosen[labelled[tested[np.argmin(cost)]]] = True
    return chosen


def near(tested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the patches that touch a tested one, itself included, on a grid of patches."""
    beside: NDArray[np.bool_] = binary_dilation(tested, np.ones((3, 3), bool))
    return beside


def block_side(rows: int, cols: int, wanted: int = 40) -> int:
    """Return the side of a block in patches that gives about `wanted` blocks."""
    return max(1, round(math.sqrt(rows * cols / wanted)))
