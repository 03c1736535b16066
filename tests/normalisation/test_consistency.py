import pytest

from eocontrast.normalisation.audit import Finding
from eocontrast.normalisation.audited import Audited
from eocontrast.normalisation.consistency import Consistency

ERROR = Finding("x", "r", "error", "broken")


def patch(name: str, split: str, s1: str, s2: str, size: tuple[int, ...] = (8, 8)) -> Audited:
    return Audited(name, split, [], size, {"s1": s1, "s2": s2}, {}, {})


def found(*patches: Audited) -> list[tuple[str, str, str]]:
    consistency = Consistency("a", 8)
    every = [finding for patch in patches for finding in consistency.findings(patch)]
    return [(finding.id, finding.rule, finding.severity) for finding in every]


def test_distinct_patches_have_no_findings() -> None:
    assert found(patch("a", "train", "1", "2"), patch("", "test", "3", "4")) == []


def test_equal_bytes_of_two_sensors_are_no_duplicate() -> None:
    assert found(patch("a", "train", "1", "2"), patch("", "train", "2", "1")) == []


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
    for second in (patch("", other, "1", "9"), patch("", other, "9", "2")):
        pair = (patch("a", one, "1", "2"), second)
        assert found(*pair) == [("", "duplicate", severity)]


def test_what_was_left_out_is_not_compared_with() -> None:
    """Else one scored patch would drag all others with it that are learnt from."""
    first, out = patch("a", "train", "1", "2"), patch("", "test", "1", "3")
    assert found(first, out, patch("c", "train", "4", "3")) == [("", "duplicate", "error")]
    bad = Audited("a", "test", [ERROR], (), {}, {}, {})
    assert found(bad, patch("c", "train", "4", "3")) == [("x", "r", "error")]


def test_another_size_than_the_first_is_an_error() -> None:
    first, second = patch("a", "train", "1", "2"), patch("", "train", "3", "4", (4, 4))
    assert found(first, second, patch("c", "train", "5", "6")) == [("", "size", "error")]


def test_an_oblong_patch_is_an_error() -> None:
    oblong = patch("a", "train", "1", "2", (8, 4))
    assert found(oblong, patch("", "train", "3", "4")) == [("a", "size", "error")]
