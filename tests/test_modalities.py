import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.modalities import (
    SENSORS,
    SENTINEL1,
    SENTINEL2_L1C,
    SENTINEL2_L2A,
    Modality,
    Units,
    implausible,
)
from eocontrast.runtime.errors import UserError

DECIBEL = Modality(("VV",), "dB", (-40.0, 10.0))
LINEAR = Modality(("VV",), "linear", (-40.0, 10.0))
DIGITAL = Modality(("B02",), "DN", (0.0, 10000.0))
REFLECTANCE = Modality(("B02",), "reflectance", (0.0, 1.0))


def uniform(low: float, high: float) -> NDArray[np.float64]:
    return np.random.default_rng(0).uniform(low, high, (3, 20, 20))


@pytest.mark.parametrize(
    ("modality", "low", "high"),
    [(DECIBEL, -50, 20), (DIGITAL, 0, 20000), (REFLECTANCE, 0, 2)],
)
def test_decode_within_half_a_step(modality: Modality, low: float, high: float) -> None:
    values = uniform(low, high)
    back = modality.decode(modality.encode(values))
    # a float32 of 20,000 is exact to 0.001
    assert np.abs(back - values).max() <= 0.5 * modality.storage.step + 1e-6 * high


def test_linear_power_becomes_decibels() -> None:
    power = np.array([1.0, 10.0, 0.001, 0.5])
    np.testing.assert_array_equal(LINEAR.encode(power), [0, 1000, -3000, -301])
    np.testing.assert_array_equal(LINEAR.encode(power), DECIBEL.encode(10 * np.log10(power)))
    assert LINEAR.decode(LINEAR.encode(power))[1] == pytest.approx(10.0)


def test_power_without_logarithm_is_missing() -> None:
    stored = LINEAR.encode(np.array([0.0, -1.0]))
    assert np.isnan(LINEAR.decode(stored)).all()


@pytest.mark.parametrize("units", ["dB", "linear", "DN", "reflectance"])
def test_infinite_values_are_missing(units: Units) -> None:
    modality = Modality(("X",), units, (0.0, 1.0))
    values = np.array([np.nan, np.inf, -np.inf, 0.5])
    stored = modality.encode(values)
    assert stored.dtype == modality.storage.dtype
    np.testing.assert_array_equal(stored == modality.storage.nodata, [True, True, True, False])
    np.testing.assert_array_equal(np.isnan(modality.decode(stored)), [True, True, True, False])


@pytest.mark.parametrize("modality", [DECIBEL, DIGITAL, REFLECTANCE])
@pytest.mark.parametrize("extreme", [1e9, -1e9])
def test_extremes_are_not_missing(modality: Modality, extreme: float) -> None:
    assert np.isfinite(modality.decode(modality.encode(np.array([extreme])))).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"])
@pytest.mark.parametrize("inside", [True, False])
def test_integers_equal_floats(dtype: str, inside: bool) -> None:
    info = np.iinfo(dtype)
    edges = np.array([0, 1, 100] if inside else [info.min, -1, 0, 65534, 65535, 65536, info.max])
    values = edges[(edges >= info.min) & (edges <= info.max)].astype(dtype)
    original = values.copy()
    stored = DIGITAL.encode(values)
    assert stored.dtype == DIGITAL.storage.dtype
    np.testing.assert_array_equal(stored, DIGITAL.encode(values.astype(np.float64)))
    np.testing.assert_array_equal(values, original)


def test_bands_of_the_sensors() -> None:
    assert SENSORS == ("s1", "s2")
    assert (len(SENTINEL1.bands), len(SENTINEL2_L1C.bands), len(SENTINEL2_L2A.bands)) == (2, 13, 12)
    assert set(SENTINEL2_L1C.bands) - set(SENTINEL2_L2A.bands) == {"B10"}


@pytest.mark.parametrize(
    ("modality", "values", "reason"),
    [
        (DECIBEL, (-30, 5), ""),
        (DECIBEL, (0.01, 0.5), "linear power or DN"),
        (DECIBEL, (-9999, -10), "a value for no data"),
        (LINEAR, (-0.001, 0.01, 0.02), ""),
        (LINEAR, (-20, -10, 1), "looks like dB"),
        (LINEAR, (30, 400), "outside the valid range"),
        (DIGITAL, (0, 3000.5), ""),
        (DIGITAL, (0.01, 0.5), "reflectance"),
        (DIGITAL, (3, 255), "8 bits"),
        (DIGITAL, (3.5, 255), ""),
        (DIGITAL, (12000, 15000), "outside the valid range"),
        (REFLECTANCE, (0.1, 0.2, 2.5), ""),
        (REFLECTANCE, (100, 4000), "looks like DN"),
        (REFLECTANCE, (-0.01, 0.02), ""),
        (REFLECTANCE, (1e-6, 3e-5), "scaled twice"),
    ],
)
def test_implausible_units(modality: Modality, values: tuple[float, ...], reason: str) -> None:
    message = implausible(np.array(values), modality)
    assert reason in message
    assert bool(reason) == bool(message)


@pytest.mark.parametrize("bands", [(), ("VV", "VV")])
def test_bands_must_be_distinct(bands: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="distinct"):
        Modality(bands, "dB", (-40, 10))


@pytest.mark.parametrize("valid_range", [(1.0, 1.0), (2.0, 1.0)])
def test_range_must_rise(valid_range: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="valid_range"):
        Modality(("VV",), "dB", valid_range)
