import re

import numpy as np

from eocontrast.labels import (
    DFC_CLASSES,
    DFC_PALETTE,
    IGBP_TO_DFC,
    IGNORE_INDEX,
    class_shares,
    mask_targets,
    multi_label,
    named_classes,
    single_label,
)

SIX = np.array([[1, 1, 7], [10, 0, 3]])
VALUES = (1, 7, 10)


def test_other_values_are_ignored() -> None:
    targets = mask_targets(SIX, VALUES)
    np.testing.assert_array_equal(targets, [[0, 0, 1], [2, IGNORE_INDEX, IGNORE_INDEX]])
    assert targets.dtype == np.uint8


def test_values_are_mapped_at_once() -> None:
    """Class indices are raster values of other classes: 1 -> 0 and 0 -> 1 must swap."""
    np.testing.assert_array_equal(mask_targets(np.array([[0, 1]]), (1, 0)), [[1, 0]])


def test_shares_cover_the_patch() -> None:
    shares = class_shares(mask_targets(SIX, VALUES), 3)
    np.testing.assert_allclose(shares, [2 / 6, 1 / 6, 1 / 6], rtol=1e-6)


def test_most_frequent_class_wins() -> None:
    assert single_label(np.array([0.2, 0.5, 0.3])) == 1
    assert single_label(np.array([0.4, 0.4])) == 0
    assert single_label(class_shares(np.full((4, 4), IGNORE_INDEX, np.uint8), 3)) == -1


def test_classes_above_a_tenth() -> None:
    shares = np.array([[0.1, 0.09, 0.81], [0.0, 1.0, 0.0], [0.05, 0.0, 0.0]], np.float32)
    expected = [[True, False, True], [False, True, False], [False, False, False]]
    np.testing.assert_array_equal(multi_label(shares), expected)


def test_exact_tenth_counts() -> None:
    """10 of 100 pixels count despite rounding; ignored pixels count as area."""
    mask = np.full((10, 10), IGNORE_INDEX, np.uint8)
    mask[0], mask[1, :9] = 2, 1
    assert multi_label(class_shares(mask, 3)).tolist() == [False, False, True]


def test_igbp_maps_to_dfc() -> None:
    """Spot checks of Robinson et al. 2021, table I: forests, savannas, cropland mosaics, water."""
    assert len(IGBP_TO_DFC) == 18
    assert set(IGBP_TO_DFC[1:6]) == {DFC_CLASSES["Forest"]}
    assert set(IGBP_TO_DFC[6:8]) == {DFC_CLASSES["Shrubland"]}
    assert set(IGBP_TO_DFC[8:10]) == {3}
    assert set(IGBP_TO_DFC[[12, 14]]) == {DFC_CLASSES["Croplands"]}
    assert IGBP_TO_DFC[11] == DFC_CLASSES["Wetlands"]
    assert IGBP_TO_DFC[13] == DFC_CLASSES["Urban/Built-up"]
    assert IGBP_TO_DFC[17] == DFC_CLASSES["Water"]
    assert set(IGBP_TO_DFC) - {0, 3, 8} == set(DFC_CLASSES.values())


def test_colours_are_distinct() -> None:
    assert list(DFC_PALETTE) == list(DFC_CLASSES)
    assert len(set(DFC_PALETTE.values())) == len(DFC_CLASSES)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in DFC_PALETTE.values())


def test_labels_with_several_names() -> None:
    classes = ("Forest", "Urban/Built-up", "Water")
    assert named_classes("Water", classes) == [2]
    assert named_classes("Water|Forest|Water", classes) == [2, 0]
    assert named_classes("masks/p1.tif", classes) is None
    assert named_classes("Water|Lava", classes) is None
