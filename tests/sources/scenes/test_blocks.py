import numpy as np
import pytest

from eocontrast.runtime.errors import UserError
from eocontrast.sources.scenes.blocks import block_side, choose_tested, near


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
