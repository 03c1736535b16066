import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.audit import Finding, audit_sensor, missing_pixels, refuse_too_many
from eocontrast.errors import UserError
from eocontrast.modalities import SENTINEL1, Modality

DIGITAL = Modality(("B02", "B03"), "DN", (0.0, 10000.0))


def backscatter() -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(-15, 3, (2, 8, 8))


def reflectance() -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(100, 3000, (2, 8, 8))


def rules(modality: Modality, values: NDArray[np.float64]) -> list[tuple[str, str]]:
    return [(f.rule, f.severity) for f in audit_sensor("a", "s1", modality, values)]


def test_plausible_rasters_have_no_findings() -> None:
    assert rules(SENTINEL1, backscatter()) == []
    assert rules(DIGITAL, reflectance()) == []


def test_a_pixel_is_missing_where_one_band_is_not_finite() -> None:
    values = backscatter()
    values[0, 1, 2], values[1, 3, 4], values[0, 5, 5] = np.nan, np.inf, 0
    missing = missing_pixels(SENTINEL1, values)
    assert np.argwhere(missing).tolist() == [[1, 2], [3, 4]]


def test_digital_numbers_are_missing_where_every_band_is_zero() -> None:
    values = reflectance()
    values[:, 0, 0], values[0, 1, 1] = 0, 0
    assert np.argwhere(missing_pixels(DIGITAL, values)).tolist() == [[0, 0]]


def test_no_data_anywhere_is_an_error() -> None:
    assert rules(SENTINEL1, np.full((2, 8, 8), np.nan)) == [("all_nodata", "error")]
    assert rules(DIGITAL, np.zeros((2, 8, 8))) == [("all_nodata", "error")]
    half = backscatter()
    half[1] = np.nan
    assert rules(SENTINEL1, half) == [("all_nodata", "error")]


def test_no_data_somewhere_is_a_warning_that_says_how_much() -> None:
    values = backscatter()
    values[:, :2] = np.nan
    (finding,) = audit_sensor("a", "s1", SENTINEL1, values)
    assert (finding.id, finding.rule, finding.severity) == ("a", "some_nodata", "warning")
    assert "25.0%" in finding.message


def test_units_that_cannot_be_are_a_warning() -> None:
    assert rules(SENTINEL1, 10 ** (backscatter() / 10)) == [("implausible_units", "warning")]
    assert rules(DIGITAL, reflectance() / 10000) == [("implausible_units", "warning")]


@pytest.mark.parametrize(
    ("bad", "allowed", "fine"), [(1, 0.1, True), (2, 0.1, False), (0, 0, True)]
)
def test_more_bad_patches_than_allowed_end_the_stage(bad: int, allowed: float, fine: bool) -> None:
    # two errors of one patch are one bad patch, warnings are none
    findings = [Finding(f"p{k}", "r", "error", f"broken {k}") for k in range(bad) for _ in range(2)]
    findings += [Finding(f"q{k}", "r", "warning", "odd") for k in range(9)]
    if fine:
        refuse_too_many(findings, 10, allowed)
        return
    with pytest.raises(UserError, match=r"2 of 10 patches.*p0: broken 0"):
        refuse_too_many(findings, 10, allowed)


def test_the_message_names_the_parameter() -> None:
    with pytest.raises(UserError, match=r"normalise\.max_bad_fraction = 0"):
        refuse_too_many([Finding("p", "r", "error", "m")], 5, 0)
