"""Missing pixels; `test_read.py` covers no-data values, scales and offsets."""

import numpy as np
import pytest

from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.rasters.values import encode_pixels, mark_missing

DIGITAL = Modality(("B02", "B03"), "DN", (0, 10000))


@pytest.mark.parametrize(
    ("modality", "value", "missing"),
    [
        (DIGITAL, (0, 0), True),
        (DIGITAL, (0, 500), False),
        (DIGITAL, (np.nan, 500), True),
        (SENTINEL1, (0, 0), True),
        (SENTINEL1, (0, -10), False),
        (SENTINEL1, (-9999, -10), True),
        (DIGITAL, (65535, 500), True),
        (SENTINEL1, (-10, np.nan), True),
        (SENTINEL1, (np.inf, -10), True),
    ],
)
def test_missing_pixels_have_no_band(
    modality: Modality, value: tuple[float, float], missing: bool
) -> None:
    values = np.full((2, 3, 4), 9.0)
    values[:, 1, 2] = value
    stored, absent = encode_pixels(modality, mark_missing(values))
    expected = np.zeros((3, 4), dtype=bool)
    expected[1, 2] = missing
    np.testing.assert_array_equal(absent, expected)
    np.testing.assert_array_equal((stored == modality.storage.nodata).all(0), expected)
