"""The patches of pretraining and their batches, a function of (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocontrast.patches.augment import epoch_order
from eocontrast.patches.store import PatchStore, Rows

HELD_OUT = 256
"""Largest number of pairs to watch the embeddings by, which are never trained on."""


def split_rows(store: PatchStore, seed: int) -> tuple[Rows, Rows]:
    """Split the rows outside the test split into patches to train on and held-out pairs."""
    return held_out(store.rows("pretrain", "train"), seed)


def held_out(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Draw a tenth of the rows, at most `HELD_OUT`, and return the rest and these, both sorted."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    size = min(HELD_OUT, len(rows) // 10)
    return np.sort(shuffled[size:]), np.sort(shuffled[:size])


def in_pieces(order: Rows, groups: NDArray[np.object_], piece: int, seed: int, epoch: int) -> Rows:
    """Reorder rows so that `piece` rows of one group follow each other and share a batch.

    Weather and season cannot tell patches of one scene apart, so the network must use the land.

    Args:
        order: rows of the store in random order, int64 (n,).
        groups: group of every row of the store, (N,).
        piece: number of rows that stay together; at the end of a group the next one begins.
        seed: with `epoch`, key of the order of the pieces.
        epoch: number of the epoch, from 0.
    """
    # stable: within a group the order stays random, so pieces differ between epochs
    by_group = order[np.argsort(groups[order], kind="stable")]
    pieces = np.array_split(by_group, range(piece, len(by_group), piece))
    # another key than that of the rows, or the two orders would be related
    shuffled = epoch_order(len(pieces), seed + 1, epoch).tolist()
    return np.concatenate([pieces[number] for number in shuffled])


def epoch_batches(
    train: Rows, groups: NDArray[np.object_], batch_size: int, piece: int, seed: int, epoch: int
) -> Rows:
    """Return the batches of an epoch, int64 (steps, batch size); left-over rows sit out.

    Args:
        train: rows of the store, int64 (n,).
        groups: group of every row of the store, (N,).
        batch_size: number of patches on all ranks together.
        piece: number of rows of one group that stay together; 0 draws at random.
        seed: with `epoch`, key of the order.
        epoch: number of the epoch, from 0.
    """
    # another random order in every epoch, so other rows sit out
    order = train[epoch_order(len(train), seed, epoch).numpy()]
    if piece:
        order = in_pieces(order, groups, piece, seed, epoch)
    steps = len(train) // batch_size
    batches: Rows = order[: steps * batch_size].reshape(steps, batch_size)
    return batches
