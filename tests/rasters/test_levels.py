"""Scales of values that no ground has, in both units of radar and of optical images."""

import numpy as np
import pytest
from numpy.typing import NDArray

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.levels import doubt, levels, swapped

GROUND = {
    # medians of VV and VH in dB, and the standard deviation of the ground
    "forest": (-8.5, -14.3, 1.5),
    "fields": (-11.8, -18.6, 2.5),
    "town": (-4.5, -11.5, 5.0),
    "steppe": (-14.0, -21.0, 1.5),
    "sea in wind": (-13.0, -25.5, 1.5),
    "lake": (-21.0, -27.5, 1.0),
}
LAND = ("forest", "fields", "town", "steppe")


def radar(name: str) -> NDArray[np.float64]:
    """Draw decibels of VV and VH with the speckle of four looks."""
    rng = np.random.default_rng(3)
    *medians, sd = GROUND[name]
    common = rng.normal(0, sd, 4000)
    speckle = 10 * np.log10(rng.gamma(4.4, 1 / 4.4, (2, 4000)))
    values: NDArray[np.float64] = np.array(medians)[:, None] + common + speckle
    return values


def modality(units: Units = "dB", bands: tuple[str, ...] = ("VV", "VH")) -> Modality:
    return Modality(bands, units, (-40, 10))


def found(values: NDArray[np.float64], held: Modality) -> tuple[bool, str] | None:
    known = levels(held, values)
    assert known is not None
    told = doubt(known)
    return (told.certain, told.text.partition("looks like ")[2]) if told else None


@pytest.mark.parametrize("name", GROUND)
@pytest.mark.parametrize("bands", [("VV", "VH"), ("HH", "HV")])
def test_right_decibels_are_not_doubted(name: str, bands: tuple[str, str]) -> None:
    assert found(radar(name), modality(bands=bands)) is None
    assert found(10 ** (radar(name) / 10), modality("linear", bands)) is None
    for band, values in zip(bands, radar(name), strict=True):
        assert found(values[None], modality(bands=(band,))) is None


FACTORS = {
    np.log(10) / 10: (True, "the natural logarithm of the power"),
    0.1: (True, "the logarithm of the power to base 10"),
    0.5: (False, "half of the right decibels"),
    2.0: (False, "twice the right decibels"),
}
WRONG = [
    # twice the decibels of a forest or town are those of the sea
    (name, factor) for name in LAND for factor in FACTORS
    if factor < 2 or name in ("fields", "steppe")
]  # fmt: skip


@pytest.mark.parametrize(("name", "factor"), WRONG)
def test_other_logarithms(name: str, factor: float) -> None:
    told = found(factor * radar(name), modality())
    certain, said = FACTORS[factor]
    assert told is not None
    assert told[0] is certain
    assert told[1].startswith(said)
    # the root of the power has half of its decibels, its square twice as many
    assert found(10 ** (factor * radar(name) / 10), modality("linear")) == told


@pytest.mark.parametrize("name", ["forest", "fields", "steppe"])
@pytest.mark.parametrize("band", ["VV", "VH"])
def test_logarithms_of_one_polarisation(name: str, band: str) -> None:
    one = radar(name)[("VV", "VH").index(band)][None]
    for factor in (0.1, np.log(10) / 10):
        told = found(factor * one, modality(bands=(band,)))
        assert told is not None
        assert not told[0]


@pytest.mark.parametrize("name", LAND)
def test_bands_that_changed_places(name: str) -> None:
    known = levels(modality(), radar(name)[::-1])
    right = levels(modality(), radar(name))
    assert known is not None
    assert right is not None
    assert "changed places" in swapped(known)
    assert not swapped(right)


BANDS = ("B02", "B03", "B04", "B08")
SPECTRA = {
    "forest": (250, 480, 300, 2900),
    "crops": (420, 750, 520, 3800),
    "bare soil": (900, 1300, 1700, 2400),
    "conifers in shade": (160, 230, 170, 1250),
}


def optical(name: str) -> NDArray[np.float64]:
    noise = np.random.default_rng(4).normal(1, 0.1, 3000)
    values: NDArray[np.float64] = np.array(SPECTRA[name])[:, None] * noise
    return values


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("units", "one"), [("DN", 1.0), ("reflectance", 1e-4)])
@pytest.mark.parametrize(
    ("factor", "side"),
    [(1, ""), (0.1, "too dark"), (0.0255, "too dark"), (0.01, "too dark"), (10, "too bright")],
)
def test_quantification_of_reflectance(
    name: str, units: Units, one: float, factor: float, side: str
) -> None:
    held = Modality(BANDS, units, (0, 10000 * one))
    known = levels(held, optical(name) * one * factor)
    assert known is not None
    told = doubt(known)
    assert side in told.text if told else not side, told


@pytest.mark.parametrize("name", SPECTRA)
def test_without_infrared_or_land(name: str) -> None:
    visible = Modality(BANDS[:3], "DN", (0, 10000))
    assert found(optical(name)[:3], visible) is None
    assert found(optical(name)[:3] / 10, visible) is not None or name == "bare soil"
    water = np.array([[350], [260], [150], [60]]) * np.ones(50)
    assert found(water, Modality(BANDS, "DN", (0, 10000))) is None


@pytest.mark.parametrize("order", [(3, 1, 2, 0), (3, 2, 1, 0), (0, 3, 1, 2), (1, 2, 3, 0)])
def test_infrared_in_a_visible_place(order: tuple[int, ...]) -> None:
    held = Modality(BANDS, "DN", (0, 10000))
    for name in ("forest", "crops"):
        right, wrong = levels(held, optical(name)), levels(held, optical(name)[list(order)])
        assert right is not None
        assert wrong is not None
        assert not swapped(right)
        assert "which only the infrared is" in swapped(wrong)


LEAVES = dict(
    B01=300, B02=350, B03=600, B04=400, B05=1000, B06=2400, B07=2900, B08=3000, B8A=3200, B09=900,
    B10=15, B11=1700, B12=850,
)  # fmt: skip
"""Digital numbers of crops by band."""


@pytest.mark.parametrize(
    ("bands", "order"),
    [
        ([*LEAVES], "B01 B02 B03 B04 B05 B06 B07 B08 B09 B10 B11 B12 B8A"),
        (["B02", "B03", "B04", "B05", "B06", "B07", "B08"], "B02 B03 B04 B08 B05 B06 B07"),
    ],
    ids=["8A last", "10 m first"],
)
def test_order_of_published_stacks(bands: list[str], order: str) -> None:
    held = Modality(tuple(bands), "DN", (0, 10000))
    noise = np.random.default_rng(0).normal(1, 0.1, (len(bands), 500))
    right, wrong = (
        levels(held, np.array([LEAVES[band] for band in names])[:, None] * noise)
        for names in (bands, order.split())
    )
    assert right is not None
    assert wrong is not None
    assert not swapped(right)
    assert "changed places" in swapped(wrong)


def test_uncalibrated_decibels() -> None:
    told = found(radar("fields") + 18, modality())
    assert told == (False, "uncalibrated values")


def test_pictures_of_eight_bits_have_no_units() -> None:
    values = np.full((2, 9), 40.0)
    assert levels(Modality(("B04", "B08"), "DN", (0, 255)), values) is None
    assert levels(Modality(("VV",), "DN", (0, 255)), values[:1]) is None
    assert levels(modality(), np.zeros((2, 0))) is None
