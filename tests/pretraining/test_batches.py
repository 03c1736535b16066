import numpy as np
import pytest

from eocontrast.pretraining.batches import HELD_OUT, epoch_batches, held_out, in_pieces


@pytest.mark.parametrize("size", [5, 30, 10_000])
def test_size_of_held_out_pairs(size: int) -> None:
    rows = 7 * np.arange(size)
    train, watched = held_out(rows, 3)
    assert len(watched) == min(HELD_OUT, size // 10)
    assert sorted([*train, *watched]) == rows.tolist()
    assert held_out(rows, 3)[1].tolist() == watched.tolist()


@pytest.mark.parametrize("piece", [1, 3, 4, 100])
def test_pieces_hold_neighbours(piece: int) -> None:
    groups = np.array([f"g{number % 5}" for number in range(40)], dtype=object)
    order = np.random.default_rng(0).permutation(40)
    found = in_pieces(order, groups, piece, seed=0, epoch=1)
    assert sorted(found) == list(range(40))
    if piece == 4:  # eight of each group: every piece is of one
        assert all(len(set(groups[rows])) == 1 for rows in found.reshape(10, 4))
    again = in_pieces(order, groups, piece, seed=0, epoch=1)
    np.testing.assert_array_equal(found, again)


def test_pieces_of_two_epochs() -> None:
    groups = np.array([f"g{number % 5}" for number in range(40)], dtype=object)
    one, two = (in_pieces(np.arange(40), groups, 4, seed=0, epoch=e) for e in (0, 1))
    assert one.tolist() != two.tolist()


@pytest.mark.parametrize("piece", [0, 3])
def test_batches_of_an_epoch(piece: int) -> None:
    train, groups = 3 * np.arange(20), np.array(["a", "b"] * 30, dtype=object)
    batches = epoch_batches(train, groups, 6, piece, seed=0, epoch=1)
    assert batches.shape == (3, 6)
    assert len(set(batches.flat)) == 18
    assert set(batches.flat) < set(train)
    mixed = [len(set(groups[rows])) > 1 for rows in batches.reshape(6, 3)]
    assert sum(mixed) <= 1 if piece else sum(mixed) > 1  # the first group ends within a piece
