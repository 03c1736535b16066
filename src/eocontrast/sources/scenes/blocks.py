"""Blocks of patches that are trained on or tested on, with a gap between the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.sparse import csr_matrix

from eocontrast.runtime.errors import UserError

DRAWS = 4000
"""Divisions that are tried at most; the best one counts."""

_CELLS = 2_000_000
"""Most draws times blocks: 16 MB of each array."""


@dataclass(frozen=True)
class Gap:
    """Labels that the gap costs, and where blocks lie.

    Attributes:
        lost: By class, the labels of each block (row) that touch each other block (column).
        places: Row and column of each block, (blocks, 2).
    """

    lost: Sequence[csr_matrix]
    places: NDArray[np.floating]


def choose_tested(
    amounts: NDArray[np.floating], share: float, seed: int, gap: Gap | None = None
) -> NDArray[np.bool_]:
    """Choose the blocks to test on, so that each class is near its share in both parts.

    Args:
        amounts: Labels of each class in each block, shape (blocks, classes).
        share: Share of the labels to test on.
        seed: Seed of the divisions that are tried.
        gap: Labels that are left out if they touch a tested block; none are if None.

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
    places = None if gap is None else gap.places[labelled]
    tested = _divisions(len(labelled), places, np.random.default_rng(seed))
    cost = np.zeros(len(tested))
    for number in np.flatnonzero(amounts.sum(0)).tolist():
        held = amounts[labelled, number]
        total = held.sum()
        test, trained = tested @ held, held * ~tested
        if gap is not None:
            # a corner that touches two tested blocks counts twice, hence the maximum
            lost = gap.lost[number][labelled][:, labelled]
            trained = np.maximum(trained - tested @ lost.T, 0)
        train = trained.sum(1)
        # a class that is missing on one side weighs as much as one that is wholly lost
        missing = (test < 1e-9 * total) | (train < 1e-9 * total)
        cost += np.abs(test / total - share) + (total - test - train) / total + missing
    chosen = np.zeros(len(amounts), bool)
    chosen[labelled[tested[np.argmin(cost)]]] = True
    return chosen


def _divisions(
    blocks: int, places: NDArray[np.floating] | None, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw divisions, (draws, blocks): scattered ones, and half of them around a place."""
    draws = int(np.clip(_CELLS // blocks, 50, DRAWS))
    sizes = rng.integers(1, blocks, draws)
    # the blocks of lowest rank are tested: any number of them, in any combination
    order = rng.random((draws, blocks))
    if places is not None:
        # of scattered blocks the gap leaves little: blocks side by side have a shorter border
        centres = rng.integers(0, blocks, draws // 2)
        away = np.linalg.norm(places[centres][:, None] - places[None], axis=2)
        order[: draws // 2] = away / away.max() + 0.2 * order[: draws // 2]
    ranks = np.argsort(order, axis=1).argsort(axis=1)
    tested: NDArray[np.bool_] = ranks < sizes[:, None]
    return tested


def gap_between(
    held: NDArray[np.integer], blocks: NDArray[np.integer], shape: tuple[int, int]
) -> Gap:
    """Find what the gap costs for blocks of a grid of patches.

    Args:
        held: Labels of each class in each patch, (patches, classes), row by row.
        blocks: Number of the block of each patch, (patches,).
        shape: Rows and columns of patches.
    """
    count, on_grid = int(blocks.max()) + 1, np.arange(len(blocks)).reshape(shape)
    labelled = (held.sum(1) > 0).reshape(shape)
    touching = []
    # half of the eight neighbours; each pair is entered both ways below
    for down, right in [(0, 1), (1, 0), (1, 1), (1, -1)]:
        rows, cols = shape[0] - down, shape[1] - abs(right)
        first = np.s_[:rows, max(-right, 0) : max(-right, 0) + cols]
        other = np.s_[down : down + rows, max(right, 0) : max(right, 0) + cols]
        both = labelled[first] & labelled[other]
        pair = np.stack([on_grid[first][both], on_grid[other][both]])
        touching += [pair, pair[::-1]]
    patches, others = np.concatenate(touching, axis=1)
    across = blocks[patches] != blocks[others]
    # a patch counts once for each block that it touches
    pairs = np.unique(np.stack([patches[across], blocks[others[across]]]), axis=1)
    rows_of, columns = blocks[pairs[0]], pairs[1]
    lost = [
        csr_matrix((held[pairs[0], number], (rows_of, columns)), shape=(count, count))
        for number in range(held.shape[1])
    ]
    sizes = np.bincount(blocks, minlength=count)
    places = [np.bincount(blocks, axis, count) / sizes for axis in np.indices(shape).reshape(2, -1)]
    return Gap(lost, np.stack(places, axis=1))


def near(tested: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the patches that touch a tested one, itself included, on a grid of patches."""
    beside: NDArray[np.bool_] = binary_dilation(tested, np.ones((3, 3), bool))
    return beside


def block_side(rows: int, cols: int) -> int:
    """Return the side of a block in patches that gives about 40 blocks."""
    return max(1, round(math.sqrt(rows * cols / 40)))
