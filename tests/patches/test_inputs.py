import json
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eocontrast.modalities import SENTINEL1, Modality, Scaling
from eocontrast.patches.inputs import InputSpec
from eocontrast.patches.scaling import Scale
from eocontrast.runtime.errors import UserError

DECIBEL = InputSpec(SENTINEL1, (-10.0, -20.0), (2.0, 4.0), 64)
DIGITAL = InputSpec(Modality(("B02",), "DN", (0.0, 10000.0)), (1000.0,), (500.0,), 64)


def test_hundredths_of_decibels_are_standardised_by_band() -> None:
    stored = torch.tensor([-1000, -2200], dtype=torch.int16).view(1, 2, 1, 1)
    found = Scale(DECIBEL)(stored).flatten()
    torch.testing.assert_close(found, torch.tensor([0.0, (-22 + 20) / 4]))


def test_digital_numbers_beyond_the_range_are_clipped() -> None:
    stored = torch.tensor([1500, 30000], dtype=torch.uint16).view(2, 1, 1, 1)
    found = Scale(DIGITAL)(stored).flatten()
    assert found.tolist() == pytest.approx([1.0, (10000 - 1000) / 500])
    low = torch.tensor([-6000], dtype=torch.int16).view(1, 1, 1, 1).expand(1, 2, 1, 1)
    assert Scale(DECIBEL)(low).flatten().tolist() == [(-40 + 10) / 2, (-40 + 20) / 4]


@pytest.mark.parametrize("spec", [DECIBEL, DIGITAL])
def test_no_data_becomes_the_mean(spec: InputSpec) -> None:
    bands = len(spec.modality.bands)
    values = np.full((1, bands, 2, 2), np.nan)
    values[..., 0, 0] = 3.0
    found = Scale(spec)(torch.from_numpy(spec.modality.encode(values)))
    assert found.dtype == torch.float32
    assert (found.flatten(2)[..., 1:] == 0).all()
    assert (found[..., 0, 0] != 0).all()


def test_statistics_are_not_part_of_the_weights() -> None:
    assert Scale(DECIBEL).state_dict() == {}


def test_a_spec_survives_json() -> None:
    assert InputSpec.from_dict(json.loads(json.dumps(DECIBEL.to_dict()))) == DECIBEL


def stored_and_values(spec: InputSpec) -> tuple[torch.Tensor, NDArray[np.float32]]:
    """Stored integers beyond the valid range and without data, and what they stand for."""
    rng = np.random.default_rng(0)
    low, high = (round(end / spec.modality.storage.step) for end in spec.modality.valid_range)
    shape = (2, len(spec.modality.bands), 8, 8)
    stored = rng.integers(max(0, low - 500) if low >= 0 else low - 500, high + 500, shape)
    stored[:, :, 0, 0] = spec.modality.storage.nodata
    stored = stored.astype(spec.modality.storage.dtype)
    return torch.from_numpy(stored), spec.modality.decode(stored)


@pytest.mark.parametrize("scaling", get_args(Scaling))
@pytest.mark.parametrize("spec", [DECIBEL, DIGITAL])
def test_physical_values_become_what_stored_ones_become(spec: InputSpec, scaling: Scaling) -> None:
    spec = replace(spec, scaling=scaling)
    stored, values = stored_and_values(spec)
    bands, units = spec.modality.bands, spec.modality.units
    expected = Scale(spec)(stored)
    assert torch.equal(spec.prepare(values, bands=bands, units=units), expected)
    tensor = torch.from_numpy(values)
    assert torch.equal(spec.prepare(tensor, bands=bands, units=units), expected)
    assert torch.equal(spec.prepare(values[0], bands=bands, units=units), expected[:1])


def test_bands_are_found_by_name_whatever_their_order() -> None:
    stored, values = stored_and_values(DECIBEL)
    more = np.concatenate([values[:, 1:], 1e6 + values[:, :1], values[:, :1]], axis=1)
    found = DECIBEL.prepare(more, bands=["VH", "angle", "VV"], units="dB")
    assert torch.equal(found, Scale(DECIBEL)(stored))
    with pytest.raises(UserError, match="the data lack VV; they have VH"):
        DECIBEL.prepare(values[:, 1:], bands=["VH"], units="dB")
    with pytest.raises(UserError, match=r"shape \(2, 2, 8, 8\), but 3 bands"):
        DECIBEL.prepare(values, bands=["VH", "angle", "VV"], units="dB")


def test_linear_power_is_decibels_and_reflectance_is_to_be_converted() -> None:
    stored, values = stored_and_values(DECIBEL)
    found = DECIBEL.prepare(10 ** (values / 10), bands=["VV", "VH"], units="linear")
    torch.testing.assert_close(found, Scale(DECIBEL)(stored), rtol=0, atol=0.01)
    linear = replace(DECIBEL, modality=replace(SENTINEL1, units="linear"))
    assert torch.equal(
        linear.prepare(values, bands=["VV", "VH"], units="dB"), Scale(linear)(stored)
    )
    _, numbers = stored_and_values(DIGITAL)
    with pytest.raises(UserError, match=r"expect DN, but the values are reflectance.*10000"):
        DIGITAL.prepare(numbers / 1e4, bands=["B02"], units="reflectance")
    with pytest.raises(UserError, match="expect DN, but the data are dB"):
        DIGITAL.prepare(numbers, bands=["B02"], units="dB")


REFLECTANCE = InputSpec(Modality(("B02",), "reflectance", (0.0, 1.0)), (0.1,), (0.05,), 64)
LINEAR = replace(DECIBEL, modality=replace(SENTINEL1, units="linear"))

IMPLAUSIBLE: dict[str, tuple[InputSpec, float, float, str]] = {
    # values are drawn between the two numbers
    "reflectance as DN": (DIGITAL, 0.01, 0.9, "looks like reflectance"),
    "8 bits as DN": (DIGITAL, 0, 255, "8 bits"),
    "DN as reflectance": (REFLECTANCE, 0, 4000, "looks like DN"),
    "power as dB": (DECIBEL, 0.001, 0.5, "looks like linear power"),
    "DN as dB": (DECIBEL, 30, 400, "looks like linear power or DN"),
    "dB as power": (LINEAR, -30, -5, "looks like dB"),
    "DN as power": (LINEAR, 30, 400, "outside the valid range"),
    "hundredths of dB": (DECIBEL, -3000, -500, "look scaled"),
    "too bright": (DIGITAL, 20000, 60000, "outside the valid range"),
}


@pytest.mark.parametrize("case", IMPLAUSIBLE)
def test_an_implausible_scale_is_refused(case: str) -> None:
    spec, least, most, says = IMPLAUSIBLE[case]
    shape = (1, len(spec.modality.bands), 8, 8)
    values = np.random.default_rng(0).uniform(least, most, shape)
    if "8 bits" in case:
        values = values.round()
    values[..., 0, 0] = np.nan
    bands, units = spec.modality.bands, spec.modality.units
    with pytest.raises(UserError, match=says) as caught:
        spec.prepare(values, bands=bands, units=units)
    seen = f"{np.nanmin(values):.4g} and {np.nanmax(values):.4g}"
    assert seen in str(caught.value)
    assert f"{spec.modality.valid_range[0]:g} to" in str(caught.value)
    spec.prepare(values, bands=bands, units=units, check_scale=False)


def test_pictures_of_eight_bits_suit_weights_that_learnt_from_such() -> None:
    spec = InputSpec(Modality(("red", "green"), "DN", (0.0, 255.0)), (90.0,) * 2, (40.0,) * 2, 8)
    values = np.random.default_rng(0).integers(10, 46, (1, 2, 8, 8))
    spec.prepare(values, bands=("red", "green"), units="DN")


@pytest.mark.parametrize(
    ("spec", "value"), [(DIGITAL, 0.0), (DIGITAL, np.nan), (DECIBEL, np.nan), (DECIBEL, -39.0)]
)
def test_dark_and_empty_patches_are_plausible(spec: InputSpec, value: float) -> None:
    values = np.full((len(spec.modality.bands), 4, 4), value)
    units = spec.modality.units
    found = spec.prepare(values, bands=spec.modality.bands, units=units)
    assert found.isfinite().all()
