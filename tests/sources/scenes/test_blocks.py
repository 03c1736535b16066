import numpy as np
import pytest

from eocontrast.runtime.errors import UserError
from eocontrast.sources.scenes.blocks import block_side, choose_tested, gap_between, near


def test_each_class_is_on_both_sides() -> None:
    draws = np.random.default_rng(3)
    amounts = draws.integers(0, 50, (30, 4)) * (draws.random((30, 4)) < 0.2)
    tested = choose_tested(amounts.astype(float), 0.3, 0)
    shares = amounts[tested].sum(0) / amounts.sum(0)
    assert (np.abs(shares - 0.3) < 0.1).all()
    assert not tested[amounts.sum(1) == 0].any()


def test_rare_class_is_on_both_sides() -> None:
    amounts = np.array([[100, 0], [100, 1], [100, 0], [100.0, 1]])
    tested = choose_tested(amounts, 0.3, 0)
    assert amounts[tested, 1].sum() == 1


def test_same_seed_gives_same_blocks() -> None:
    amounts = np.random.default_rng(0).random((20, 3))
    first, second = (choose_tested(amounts, 0.3, 7) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_one_labelled_block_is_refused() -> None:
    with pytest.raises(UserError, match="1 block has labels"):
        choose_tested(np.array([[0, 0], [4.0, 5]]), 0.3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_gap_counts_what_is_left_out(seed: int) -> None:
    draws = np.random.default_rng(seed)
    rows, cols, side = 9, 7, 3
    held = draws.integers(1, 9, (rows * cols, 2)) * (draws.random((rows * cols, 1)) < 0.5)
    row, col = np.divmod(np.arange(rows * cols), cols)
    blocks = (row // side) * 3 + col // side
    gap = gap_between(held, blocks, (rows, cols))
    for tested in np.unique(blocks):  # brute force, for a single tested block
        on_test = (blocks == tested) & (held.sum(1) > 0)
        beside = near(on_test.reshape(rows, cols)).ravel() & ~on_test & (blocks != tested)
        for number, lost in enumerate(gap.lost):
            expected = np.bincount(blocks[beside], held[beside, number], blocks.max() + 1)
            np.testing.assert_array_equal(lost.toarray()[:, tested], expected)


def test_gap_leaves_every_class_to_train_on() -> None:
    draws = np.random.default_rng(0)
    side = 8  # blocks of one patch, each of which a scattered division would surround by tests
    held = np.eye(3, dtype=int)[draws.integers(0, 3, side**2)] * (draws.random((side**2, 1)) < 0.6)
    blocks = np.arange(side**2)
    gap = gap_between(held, blocks, (side, side))
    tested = choose_tested(held.astype(float), 0.3, 0, gap)
    lost = near(tested.reshape(side, side)).ravel() & ~tested
    test, train = held[tested].sum(0), held[~tested & ~lost].sum(0)
    assert (test > 0).all()
    assert (train > 0).all()
    assert train.sum() > 0.35 * held.sum()


def test_near_reaches_all_neighbours() -> None:
    tested = np.zeros((5, 5), bool)
    tested[1, 1] = True
    assert near(tested).sum() == 9
    assert near(tested)[:3, :3].all()


@pytest.mark.parametrize(("rows", "cols"), [(10, 10), (228, 228), (1, 5)])
def test_blocks_number_about_forty(rows: int, cols: int) -> None:
    side = block_side(rows, cols)
    count = -(-rows // side) * -(-cols // side)
    assert count <= 60
    assert count >= min(20, rows * cols)
