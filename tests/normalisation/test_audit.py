import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.normalisation.audit import (
    Finding,
    audit_sensor,
    refuse_too_many,
)
from eocontrast.rasters.values import missing_pixels
from eocontrast.runtime.errors import UserError

DIGITAL = Modality(("B02", "B03"), "DN", (0.0, 10000.0))


def backscatter() -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(-15, 3, (2, 8, 8))


def reflectance() -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(100, 3000, (2, 8, 8)).round()


def audited(modality: Modality, values: NDArray[np.float64]) -> list[Finding]:
    return audit_sensor("a", "s1", modality, values, missing_pixels(values))


def rules(modality: Modality, values: NDArray[np.float64]) -> list[tuple[str, str]]:
    return [(finding.rule, finding.severity) for finding in audited(modality, values)]


def test_plausible_rasters_have_no_findings() -> None:
    assert rules(SENTINEL1, backscatter()) == []
    assert rules(DIGITAL, reflectance()) == []


def test_no_data_anywhere_is_an_error() -> None:
    assert rules(SENTINEL1, np.full((2, 8, 8), np.nan)) == [("all_nodata", "error")]
    assert rules(DIGITAL, np.full((2, 8, 8), np.nan)) == [("all_nodata", "error")]
    half = backscatter()
    half[1] = np.nan
    assert rules(SENTINEL1, half) == [("all_nodata", "error")]


def test_no_data_somewhere_is_a_warning_that_says_how_much() -> None:
    values = backscatter()
    values[:, :2] = np.nan
    (finding,) = audited(SENTINEL1, values)
    assert (finding.id, finding.rule, finding.severity) == ("a", "some_nodata", "warning")
    assert "25.0%" in finding.message


LINEAR = Modality(("VV", "VH"), "linear", (-40.0, 10.0))
REFLECTANCE = Modality(("B02", "B03"), "reflectance", (0.0, 1.0))


@pytest.mark.parametrize(
    ("modality", "values", "said"),
    [
        (SENTINEL1, 10 ** (backscatter() / 10), "no value is negative"),
        (SENTINEL1, backscatter() * 100, "scaled"),
        (SENTINEL1, np.where(np.eye(8) > 0, -9999, backscatter()), "no data"),
        (LINEAR, backscatter(), "most values are negative"),
        (DIGITAL, reflectance() / 10000, "reflectance"),
        (DIGITAL, reflectance() - 1000, "stored as 0"),
        (REFLECTANCE, reflectance(), "DN"),
    ],
)
def test_units_that_cannot_be_are_a_warning(
    modality: Modality, values: NDArray[np.float64], said: str
) -> None:
    findings = audited(modality, values)
    (finding,) = [f for f in findings if f.rule == "implausible_units"]
    assert finding.severity == "warning"
    assert said in finding.message


def test_a_few_negative_powers_are_what_subtracting_noise_leaves() -> None:
    values = 10 ** (np.random.default_rng(0).normal(-15, 3, (2, 32, 32)) / 10)
    values[0, 0, :16] = -1e-4
    assert rules(LINEAR, values) == []


def test_fractions_are_no_digital_numbers_and_whole_numbers_no_backscatter() -> None:
    assert rules(DIGITAL, reflectance() + 0.25) == [("implausible_dtype", "warning")]
    assert rules(SENTINEL1, backscatter().round()) == [("implausible_dtype", "warning")]
    resampled = reflectance()
    resampled[1] += 0.25  # as a band of 20 m is on the grid of 10 m
    assert rules(DIGITAL, resampled) == []


@pytest.mark.parametrize(("pixels", "expected"), [(3, []), (4, [("saturated", "warning")])])
def test_more_than_a_twentieth_clipped_is_a_warning(
    pixels: int, expected: list[tuple[str, str]]
) -> None:
    values = reflectance()
    values[0, 0, :pixels] = 12000  # of 64
    assert rules(DIGITAL, values) == expected


def test_linear_power_is_clipped_at_decibels() -> None:
    assert rules(LINEAR, 10 ** (backscatter() / 10)) == []
    assert rules(LINEAR, 10 ** (backscatter() / 10 + 3)) == [("saturated", "warning")]


def test_a_band_of_one_value_is_a_warning_that_names_it() -> None:
    values = reflectance()
    values[1] = 700
    (finding,) = audited(DIGITAL, values)
    assert (finding.rule, finding.severity) == ("constant_band", "warning")
    assert finding.message.endswith("B03")


def test_clear_sky_in_the_cirrus_band_and_black_water_are_no_constant_bands() -> None:
    cirrus = Modality(("B02", "B10"), "DN", (0.0, 10000.0))
    values = reflectance()
    values[1] = 15
    assert rules(cirrus, values) == []
    values[1] = 1  # L2A's smallest reflectance over water
    assert rules(DIGITAL, values) == []


@pytest.mark.parametrize(("copy", "of"), [(1, 0), (2, 1), (3, 0)])
def test_copies_of_a_band_are_named(copy: int, of: int) -> None:
    bands = Modality(("B02", "B03", "B04", "B08"), "DN", (0.0, 10000.0))
    values = np.random.default_rng(0).uniform(100, 3000, (4, 8, 8)).round()
    assert rules(bands, values) == []
    values[copy] = values[of]
    (finding,) = audited(bands, values)
    assert (finding.rule, finding.severity) == ("repeated_band", "warning")
    assert finding.message.endswith(f"{bands.bands[copy]} and {bands.bands[of]}")
    values[:] = 5
    assert "repeated_band" not in [rule for rule, _ in rules(bands, values)]


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


def test_unreadable_rasters_of_archives() -> None:
    with pytest.raises(UserError, match=r"archives/<archive>\.md5 before"):
        refuse_too_many([Finding("p", "unreadable", "error", "m")], 5, 0)


def test_the_message_names_the_parameter() -> None:
    with pytest.raises(UserError, match=r"normalise\.max_bad_fraction = 0"):
        refuse_too_many([Finding("p", "r", "error", "m")], 5, 0)


def test_empty_block_of_one_band_is_a_warning() -> None:
    values = np.random.default_rng(0).normal(-15, 3, (2, 32, 32))
    values[1, :16] = 0
    (finding,) = audited(SENTINEL1, values)
    assert finding.rule == "undeclared_fill"
    assert finding.severity == "warning"
    assert "band VH is exactly 0 in a rectangle" in finding.message
