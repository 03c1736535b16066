"""Headers that contradict the declaration, or themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from raster_files import write_raster

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import bands_size, read_raster
from eocontrast.rasters.values import AUTOMATIC, Declared

POWER = np.random.default_rng(0).uniform(0.01, 0.3, (2, 8, 8)).astype(np.float32)
DIGITAL = np.random.default_rng(0).integers(1100, 4000, (2, 8, 8)).astype(np.uint16)


@pytest.mark.parametrize("units", ["linear", "dB"])
@pytest.mark.parametrize(
    "header",
    [
        {"descriptions": ("Amplitude_VV", "Amplitude_VH")},
        {"descriptions": ("vv_amp", "vh_amp")},
        {"units": ("amplitude", "amplitude")},
    ],
)
def test_amplitudes_are_refused(tmp_path: Path, units: Units, header: dict[str, object]) -> None:
    path = write_raster(tmp_path / "a.tif", POWER, "GTiff", **header)
    with pytest.raises(RasterError, match=f"amplitudes by its header, expected {units}") as caught:
        bands_size(path, Modality(("VV", "VH"), units, (-40, 10)))
    assert caught.value.rule == "units"


@pytest.mark.parametrize("names", [("Amplitude_VV_db", "Amplitude_VH_db"), ("Intensity_VV", "VH")])
def test_decibels_and_intensities_are_read(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write_raster(tmp_path / "a.tif", POWER, descriptions=names)
    np.testing.assert_array_equal(
        read_raster(path, Modality(("VV", "VH"), "linear", (-40, 10))).values, POWER
    )


@pytest.mark.parametrize(
    ("units", "scales", "offsets", "message"),
    [
        ("DN", (1e-4, 1e-4), (-0.1, 0), r"offset differs between bands \(-1000, 0\)"),
        ("DN", (1, 1), (0, -1000), r"offset differs between bands \(0, -1000\)"),
        ("reflectance", (1e-4, 1), (0, 0), r"scale differs between bands \(0.0001, 1\)"),
        ("reflectance", (1e-4, 1e-4), (0, -0.1), "offset differs between bands"),
        ("DN", (2, 1), (0, 0), "scale differs between bands"),
        ("DN", (1e-4, 1e-4), (0.1, 0.1), "header adds 1000 to all values, expected 0 or less"),
    ],
)
def test_bands_of_two_kinds_are_refused(
    tmp_path: Path, units: Units, scales: tuple[float, float], offsets: tuple[float, float],
    message: str,
) -> None:  # fmt: skip
    path = write_raster(tmp_path / "a.tif", DIGITAL, scales=scales, offsets=offsets)
    with pytest.raises(RasterError, match=message) as caught:
        bands_size(path, Modality(("B02", "B03"), units, (0, 1)))
    assert caught.value.rule == "units"


@pytest.mark.parametrize(
    ("scales", "offsets", "declared", "shift"),
    [
        ((1e-4, 1), (0, 0), AUTOMATIC, 0),  # both are digital numbers
        ((float(np.float32(1e-4)), 1e-4), (-0.1, -0.1), AUTOMATIC, -1000),
        ((1e-4, 1e-4), (-0.1, 0), Declared(offset=-1000), -1000),
        ((1e-4, 1e-4), (0.1, 0.1), Declared(offset=0), 0),
    ],
)
def test_scales_that_agree_are_read(
    tmp_path: Path, scales: tuple[float, float], offsets: tuple[float, float], declared: Declared,
    shift: int,
) -> None:  # fmt: skip
    path = write_raster(tmp_path / "a.tif", DIGITAL, scales=scales, offsets=offsets)
    values = read_raster(path, Modality(("B02", "B03"), "DN", (0, 1)), declared).values
    np.testing.assert_allclose(values, DIGITAL.astype(float) + shift, atol=0.01)


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("units", ["dB", "DN"])
def test_scales_without_values_are_refused(tmp_path: Path, scale: float, units: Units) -> None:
    path = write_raster(tmp_path / "a.tif", DIGITAL, scales=(scale, scale))
    with pytest.raises(RasterError, match=f"scale {scale:g} and offset 0 give no values") as caught:
        bands_size(path, Modality(("VV", "VH"), units, (-40, 10)))
    assert caught.value.rule == "units"


def _tagged(path: Path, band: int, values: np.ndarray[Any, Any], **tags: str) -> Path:
    write_raster(path, values, transform=Affine.scale(10, -10))
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(band, **tags)
    return path


@pytest.mark.parametrize("band", [0, 1])
@pytest.mark.parametrize(
    ("units", "tags"),
    [
        ("dB", {"scale_factor": "0.01"}),
        ("dB", {"scale_factor": "1", "add_offset": "-50"}),
        ("DN", {"scale_factor": "0.0001", "add_offset": "-0.1"}),
    ],
)
def test_scales_in_tags_are_refused(
    tmp_path: Path, band: int, units: Units, tags: dict[str, str]
) -> None:
    path = _tagged(tmp_path / "a.tif", band, DIGITAL, **tags)
    with pytest.raises(RasterError, match="its tags state scale_factor") as caught:
        bands_size(path, Modality(("a", "b"), units, (-40, 10)))
    assert caught.value.rule == "units"


def test_scales_in_tags_that_change_nothing(tmp_path: Path) -> None:
    held = Modality(("B02", "B03"), "DN", (0, 10000))
    tags = {"scale_factor": "0.0001", "add_offset": "0"}
    path = _tagged(tmp_path / "a.tif", 0, DIGITAL, **tags)
    assert np.array_equal(read_raster(path, held).values, DIGITAL)
    # decoded fractions may keep the tags
    path = _tagged(tmp_path / "b.tif", 0, POWER, scale_factor="0.01")
    modality = Modality(("VV", "VH"), "linear", (-40, 10))
    assert np.array_equal(read_raster(path, modality).values, POWER)
    # the user's word about the offset has more weight
    path = _tagged(tmp_path / "c.tif", 0, DIGITAL, add_offset="-1000")
    raster = read_raster(path, held, Declared(offset=-1000.0))
    assert np.array_equal(raster.values, DIGITAL.astype(int) - 1000)


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
@pytest.mark.parametrize("band", [0, 1])
def test_no_data_in_a_tag_alone_is_refused(tmp_path: Path, band: int, name: str) -> None:
    path = _tagged(tmp_path / "a.tif", band, DIGITAL, **{name: "9999"})
    held = Modality(("B02", "B03"), "DN", (0, 10000))
    with pytest.raises(RasterError, match=f"tag {name} states 9999 as no data") as caught:
        bands_size(path, held)
    assert caught.value.rule == "units"
    # the user's word, or the header's, has more weight
    assert np.array_equal(read_raster(path, held, Declared(nodata="none")).values, DIGITAL)
    with rasterio.open(path, "r+") as raster:
        raster.nodata = 9999
    assert np.array_equal(read_raster(path, held).values, DIGITAL)


@pytest.mark.parametrize("value", ["nan", "0", "-9999", "65535", "9.96921e+36", "none"])
def test_tags_of_no_data_that_change_nothing(tmp_path: Path, value: str) -> None:
    path = _tagged(tmp_path / "a.tif", 1, DIGITAL, _FillValue=value)
    held = Modality(("B02", "B03"), "DN", (0, 10000))
    assert np.array_equal(read_raster(path, held).values, DIGITAL)


@pytest.mark.parametrize("value", [0, 255])
def test_every_value_of_8_bits_may_be_measured(tmp_path: Path, value: int) -> None:
    path = _tagged(tmp_path / "a.tif", 1, DIGITAL.astype("uint8"), _FillValue=str(value))
    with pytest.raises(RasterError, match=f"tag _FillValue states {value} as no data"):
        bands_size(path, Modality(("B02", "B03"), "DN", (0, 255)))
