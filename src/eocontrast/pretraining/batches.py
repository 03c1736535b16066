"""Which patches pretraining sees, and in which batches: a function of (seed, epoch) alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eocontrast.patches.augment import epoch_order
from eocontrast.patches.store import PatchStore, Rows

HELD_OUT = 256
"""Pairs that are never trained on, to watch the embeddings by; at most a tenth of all."""


def split_rows(store: PatchStore, seed: int) -> tuple[Rows, Rows]:
    """Rows outside the test split: patches to pretrain on, and pairs to watch the embeddings by."""
    return held_out(store.rows("pretrain", "train"), seed)


def held_out(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Patches to pretrain on, and pairs to watch the embeddings by; disjoint."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    size = min(HELD_OUT, len(rows) // 10)
    return np.sort(shuffled[size:]), np.sort(shuffled[:size])


def in_pieces(order: Rows, groups: NDArray[np.object_], piece: int, seed: int, epoch: int) -> Rows:
    """The same rows with `piece` neighbours of one group in a row, so that they share a batch.

    Negatives from the same scene cannot be told apart by its weather or season: what remains to
    tell them by is the land.

    Args:
        order: rows of the store in random order, (n,).
        groups: group of every row of the store, (N,).
        piece: rows of a group that stay together; where a group ends, the next one begins.
        seed: with `epoch`, of the order of the pieces.
        epoch: of the order of the pieces.
    """
    by_group = order[np.argsort(groups[order], kind="stable")]
    pieces = np.array_split(by_group, range(piece, len(by_group), piece))
    shuffled = epoch_order(len(pieces), seed + 1, epoch).tolist()
    return np.concatenate([pieces[number] for number in shuffled])


def epoch_batches(
    train: Rows, groups: NDArray[np.object_], batch_size: int, piece: int, seed: int, epoch: int
) -> Rows:
    """The batches of an epoch, (steps, batch size); what is left over comes in another epoch.

    Args:
        train: rows of the store, (n,).
        groups: group of every row of the store, (N,).
        batch_size: of all ranks together.
        piece: neighbours of one group that stay together; 0 draws at random.
        seed: with `epoch`, of the order.
        epoch: of the order.
    """
    order = train[epoch_order(len(train), seed, epoch).numpy()]
    if piece:
        order = in_pieces(order, groups, piece, seed, epoch)
    steps = len(train) // batch_size
    batches: Rows = order[: steps * batch_size].reshape(steps, batch_size)
    return batches
