from dataclasses import replace

import numpy as np
import pytest

from eocontrast.normalisation.audit import Finding
from eocontrast.normalisation.consistency import Consistency
from eocontrast.normalisation.pairs import Patch

ERROR = Finding("x", "r", "error", "broken")


def patch(name: str, split: str, s1: int, s2: int, size: tuple[int, ...] = (8, 8)) -> Patch:
    sums = np.ones((3, 1), dtype=np.int64)
    return Patch(
        name, split, [], size, checksums={"s1": s1, "s2": s2}, sums={"s1": sums, "s2": sums}
    )


def found(*patches: Patch) -> list[tuple[str, str, str]]:
    consistency = Consistency("a", 8)
    every = [finding for patch in patches for finding in consistency.findings(patch)]
    return [(finding.id, finding.rule, finding.severity) for finding in every]


def test_distinct_patches() -> None:
    assert found(patch("a", "train", 1, 2), patch("", "test", 3, 4)) == []


def test_sensors_are_not_compared() -> None:
    assert found(patch("a", "train", 1, 2), patch("", "train", 2, 1)) == []


@pytest.mark.parametrize(
    ("one", "other", "severity"),
    [
        ("train", "train", "warning"),
        ("pretrain", "train", "warning"),
        ("test", "test", "warning"),
        ("train", "test", "error"),
        ("test", "train", "error"),
        ("pretrain", "test", "error"),
    ],
)
def test_same_pixels_twice(one: str, other: str, severity: str) -> None:
    for second in (patch("", other, 1, 9), patch("", other, 9, 2)):
        pair = (patch("a", one, 1, 2), second)
        assert found(*pair) == [("", "duplicate", severity)]


def test_excluded_patches_are_not_compared() -> None:
    """Otherwise one test patch would exclude all training patches with its pixels."""
    first, out = patch("a", "train", 1, 2), patch("", "test", 1, 3)
    assert found(first, out, patch("c", "train", 4, 3)) == [("", "duplicate", "error")]
    bad = Patch("a", "test", [ERROR])
    assert found(bad, patch("c", "train", 4, 3)) == [("x", "r", "error")]


def test_other_size_is_an_error() -> None:
    first, second = patch("a", "train", 1, 2), patch("", "train", 3, 4, (4, 4))
    assert found(first, second, patch("c", "train", 5, 6)) == [("", "size", "error")]


def test_oblong_patch_is_an_error() -> None:
    oblong = patch("a", "train", 1, 2, (8, 4))
    assert found(oblong, patch("", "train", 3, 4)) == [("a", "size", "error")]


def test_equal_checksums_of_other_pixels() -> None:
    first, second = patch("a", "train", 1, 2), patch("b", "test", 1, 2)
    other = {sensor: sums + 1 for sensor, sums in second.sums.items()}
    assert found(first, replace(second, sums=other)) == []
