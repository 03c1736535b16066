import numpy as np
import pytest

from eocontrast.modalities import Units
from eocontrast.rasters.offsets import Evidence, dark_ends, offset_by_content, share_below

GROUND: dict[str, tuple[tuple[float, ...], Evidence]] = {
    # dark ends of B02, B03, B04, B08, B11 and B12 as digital numbers
    "water and forest": ((250, 200, 120, 60, 20, 10), "absent"),
    "water and forest since 2022": ((1250, 1200, 1120, 1060, 1020, 1010), "present"),
    "forest since 2022": ((1180, 1300, 1150, 2600, 1500, 1250), "present"),
    "snow": ((7000, 7200, 7100, 6000, 950, 980), "doubtful"),
    "snow since 2022": ((8000, 8200, 8100, 7000, 1490, 1400), "doubtful"),
    "desert": ((1200, 1900, 2700, 3400, 4400, 3800), "doubtful"),
    "sea of sand": ((1700, 2400, 3300, 4000, 5000, 4600), "bright"),
    "urban": ((620, 640, 560, 900, 800, 560), "absent"),
    "clouds": ((5200, 5100, 5000, 5300, 2600, 1900), "bright"),
}


@pytest.mark.parametrize("name", GROUND)
@pytest.mark.parametrize(("units", "factor"), [("DN", 1), ("reflectance", 1e-4)])
def test_offset_by_content(name: str, units: Units, factor: float) -> None:
    least, expected = GROUND[name]
    counts = dark_ends(factor * np.array(least)[:, None] * np.linspace(1, 1.6, 1000), units)
    assert counts is not None
    assert offset_by_content(counts) == expected


def test_bad_pixels_hide_no_offset() -> None:
    bands = np.tile(np.linspace(1050, 4000, 1000), (3, 1))
    bands[:, 0], bands[:, 1] = 1, np.nan
    counts = dark_ends(bands, "DN")
    assert counts is not None
    assert counts[0].tolist() == [999, 999, 999]
    assert offset_by_content(counts) == "present"


def test_one_band_or_value_shows_nothing() -> None:
    single = dark_ends(np.linspace(1050, 4000, 1000)[None], "DN")
    constant = dark_ends(np.full((4, 9), 1100, np.uint16), "DN")
    assert single is not None
    assert constant is not None
    assert offset_by_content(single) == "doubtful"
    assert offset_by_content(constant) == "bright"
    assert dark_ends(np.zeros((2, 9)), "dB") is None


@pytest.mark.parametrize(("units", "factor"), [("DN", 1), ("reflectance", 1e-4)])
@pytest.mark.parametrize(
    ("low", "high", "share"), [(-800, 200, 0.7), (-90, 3000, 0), (-150, 50, 0.25), (300, 900, 0)]
)
def test_values_too_low_for_the_offset(
    units: Units, factor: float, low: float, high: float, share: float
) -> None:
    """The band with the most pixels below -100 digital numbers counts."""
    bands = np.stack([np.linspace(low, high, 1001), np.linspace(500, 900, 1001)]) * factor
    bands[0, -1] = np.nan
    assert share_below(bands, units) == pytest.approx(share, abs=2e-3)


def test_radar_has_no_offset() -> None:
    assert share_below(np.full((2, 9), -500.0), "dB") == 0
