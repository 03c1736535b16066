import numpy as np
import pytest

from eocontrast.audit import Finding
from eocontrast.consistency import Consistency
from eocontrast.pairs import Patch

ERROR = Finding("x", "r", "error", "broken")


def patch(name: str, split: str, s1: bytes, s2: bytes, shape: tuple[int, ...] = (8, 8)) -> Patch:
    arrays = {"s1": np.zeros((2, *shape), np.int16), "s2": np.zeros((4, *shape), np.uint16)}
    return Patch(name, split, [], arrays, digests={"s1": s1, "s2": s2})


def found(*patches: Patch) -> list[tuple[str, str, str]]:
    consistency = Consistency()
    every = [finding for patch in patches for finding in consistency.findings(patch)]
    return [(finding.id, finding.rule, finding.severity) for finding in every]


def test_distinct_patches_have_no_findings() -> None:
    assert found(patch("a", "train", b"1", b"2"), patch("b", "test", b"3", b"4")) == []


def test_equal_bytes_of_two_sensors_are_no_duplicate() -> None:
    assert found(patch("a", "train", b"1", b"2"), patch("b", "train", b"2", b"1")) == []


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
def test_the_same_pixels_twice(one: str, other: str, severity: str) -> None:
    for second in (patch("b", other, b"1", b"9"), patch("b", other, b"9", b"2")):
        pair = (patch("a", one, b"1", b"2"), second)
        assert found(*pair) == [("b", "duplicate", severity)]


def test_what_was_left_out_is_not_compared_with() -> None:
    """Else one scored patch would drag all others with it that are learnt from."""
    first, out = patch("a", "train", b"1", b"2"), patch("b", "test", b"1", b"3")
    assert found(first, out, patch("c", "train", b"4", b"3")) == [("b", "duplicate", "error")]
    bad = Patch("a", "test", [ERROR])
    assert found(bad, patch("c", "train", b"4", b"3")) == [("x", "r", "error")]


def test_another_size_than_the_first_is_an_error() -> None:
    first, second = patch("a", "train", b"1", b"2"), patch("b", "train", b"3", b"4", (4, 4))
    assert found(first, second, patch("c", "train", b"5", b"6")) == [("b", "size", "error")]


def test_an_oblong_patch_is_an_error_and_sets_no_size() -> None:
    oblong = patch("a", "train", b"1", b"2", (8, 4))
    assert found(oblong, patch("b", "train", b"3", b"4")) == [("a", "size", "error")]
