import numpy as np

from eocontrast.sources.neighbours import neighbours


def test_gap_of_one_patch_links() -> None:
    places = [("T", 10, 10), ("T", 12, 12), ("T", 14, 11), ("T", 17, 11), ("U", 10, 10)]
    assert neighbours(places) == ["T_10_10", "T_10_10", "T_10_10", "T_17_11", "U_10_10"]
    assert neighbours(places[::-1]) == neighbours(places)[::-1]


def test_groups_match_brute_force() -> None:
    rng = np.random.default_rng(0)
    corners = {(int(column), int(row)) for column, row in rng.integers(0, 25, (60, 2))}
    places = [("T", column, row) for column, row in sorted(corners)]
    near = np.array(
        [[max(abs(a[1] - b[1]), abs(a[2] - b[2])) <= 2 for a in places] for b in places]
    )
    linked = np.linalg.matrix_power(near.astype(float), len(places)) > 0
    groups = np.array(neighbours(places), dtype="U9")
    np.testing.assert_array_equal(groups[:, None] == groups, linked)
    assert 1 < len(set(groups)) < len(places)


def test_repeated_place_has_one_group() -> None:
    assert neighbours([("T", 3, 3), ("T", 9, 9), ("T", 3, 3)]) == ["T_3_3", "T_9_9", "T_3_3"]


def test_whole_tile_is_one_group() -> None:
    places = [("T", column, row) for column in range(90) for row in range(90)]
    assert set(neighbours(places)) == {"T_0_0"}
