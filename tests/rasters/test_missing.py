"""Missing pixels by reason, and what is never taken for missing."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from raster_files import write_raster
from rasterio.control import GroundControlPoint

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.units import to_units
from eocontrast.rasters.values import AUTOMATIC, Declared, Offset, Reason, encode_pixels

QUARTER = (slice(None), slice(0, 8), slice(0, 8))


def values(dtype: str, low: float, high: float) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(low, high, (2, 16, 16)).astype(dtype)


def read(
    path: Path, units: Units, declared: Declared = AUTOMATIC
) -> tuple[NDArray[np.bool_], dict[Reason, int]]:
    raster = read_raster(path, Modality(("A", "B"), units, (-40, 10000)), declared)
    return np.isnan(raster.values).any(0), raster.missing.pixels


@pytest.mark.parametrize(
    ("units", "dtype", "fill", "reason"),
    [
        ("DN", "uint16", 0, "fill"),
        ("reflectance", "float32", 0, "fill"),
        ("dB", "float32", 0, "fill"),
        ("linear", "float64", 0, "fill"),
        ("dB", "float32", -9999, "impossible"),
        ("dB", "int16", -32768, "impossible"),
        ("DN", "uint16", 65535, "impossible"),
        ("DN", "int16", 32767, "impossible"),
        ("DN", "int32", 2147483647, "impossible"),
        ("DN", "int16", -1000, "fill"),
        ("DN", "int16", -1, "fill"),
        ("DN", "float32", -999, "fill"),
        ("DN", "uint16", 65534, "fill"),
        ("DN", "int32", -2147483647, "impossible"),
        ("reflectance", "float32", 6.5535, "fill"),
        ("reflectance", "float64", 65535 * 1e-4, "fill"),
        ("reflectance", "float32", -0.9999, "fill"),
        ("linear", "float32", -1, "fill"),
        ("dB", "float32", 10 * np.log10(np.finfo("float32").eps), "fill"),
        ("dB", "float64", 10 * np.log10(np.finfo("float64").eps), "fill"),
        ("dB", "float32", -80, "fill"),
        ("dB", "float32", -327.68, "fill"),
        ("dB", "float32", -99.99, "fill"),
        ("reflectance", "float32", -0.1, "fill"),
        ("reflectance", "float64", -0.1, "fill"),
        ("dB", "float32", -50, "fill"),
        ("dB", "float64", -300, "fill"),
        ("linear", "float32", 1e-10, "fill"),
        ("linear", "float64", 1e-6, "fill"),
        ("linear", "float32", -3.4028235e38, "impossible"),
        ("reflectance", "float64", 1.7e308, "impossible"),
        ("dB", "float32", np.nan, "nan"),
        ("dB", "float32", -np.inf, "nan"),
    ],
)
def test_undeclared_fill(
    tmp_path: Path, units: Units, dtype: str, fill: float, reason: Reason
) -> None:
    bands = values(dtype, -30, -5) if units == "dB" else values(dtype, 1, 900)
    bands[QUARTER] = fill
    missing, reasons = read(write_raster(tmp_path / "a.tif", bands), units)
    assert missing[:8, :8].all()
    assert missing.sum() == 64
    assert reasons == {reason: 64}


@pytest.mark.parametrize(("dtype", "value"), [("int16", -50), ("uint16", 32767), ("int16", -100)])
def test_dark_and_bright_values_are_measured(tmp_path: Path, dtype: str, value: int) -> None:
    """Digital numbers lie below 0 without the offset, and clouds far above 10,000."""
    bands = values(dtype, 1, 900)
    bands[QUARTER] = value
    assert not read(write_raster(tmp_path / "a.tif", bands), "DN")[0].any()


def test_values_below_the_noise_are_measured(tmp_path: Path) -> None:
    """Calm water may lie below -45 dB, but not with equal numbers in both polarisations."""
    bands = values("float32", -70, -46)
    missing, reasons = read(write_raster(tmp_path / "a.tif", bands), "dB")
    assert not missing.any()
    assert not reasons


def test_fill_behind_a_scale(tmp_path: Path) -> None:
    """Decibels times 100 as whole numbers: -10 dB is a measurement, -99.9 is not."""
    bands = values("int16", -3000, -500)
    bands[:, 8:], bands[QUARTER] = -1001, -9990
    path = write_raster(tmp_path / "a.tif", bands, scales=(0.01, 0.01))
    raster = read_raster(path, Modality(("A", "B"), "dB", (-40, 10)))
    assert np.isnan(raster.values[QUARTER]).all()
    assert raster.missing.pixels == {"fill": 64}
    np.testing.assert_allclose(raster.values[:, 8:], -10.01)


def test_fill_in_one_band_is_measured(tmp_path: Path) -> None:
    bands = values("float32", -30, -5)
    bands[0, :8, :8] = -50
    bands[1, 8:, 8:] = 0
    assert not read(write_raster(tmp_path / "a.tif", bands), "dB")[0].any()


@pytest.mark.parametrize(
    ("count", "word"),
    [(2, "dataMask"), (3, "dataMask"), (3, "alpha"), (3, "valid_mask"), (2, "Valid pixels")],
)
def test_band_of_valid_pixels(tmp_path: Path, count: int, word: str) -> None:
    bands = np.random.default_rng(0).integers(0, 200, (count + 1, 16, 16)).astype(np.uint8)
    bands[-1] = 1
    bands[-1, :8, :8] = 0
    names = ("B02", "B03", "B04")[:count]
    path = write_raster(tmp_path / "a.tif", bands, descriptions=(*names, word))
    found = read_raster(path, Modality(names, "DN", (0, 255)))
    expected = np.where(bands[-1] == 0, np.nan, bands[:-1].astype(np.float64))
    np.testing.assert_array_equal(found.values, expected)
    assert found.missing.pixels == {"mask": 64}


@pytest.mark.parametrize(
    ("dtype", "declared", "missing"),
    [
        ("uint8", Declared(), 0),
        ("uint8", Declared(nodata=(0.0,)), 64),
        ("uint16", Declared(nodata="none"), 0),
        ("uint16", Declared(nodata=(5.0, 6.0)), 64),
        ("float32", Declared(nodata="none"), 0),
    ],
)
def test_users_word(tmp_path: Path, dtype: str, declared: Declared, missing: int) -> None:
    bands = values(dtype, 20, 200)
    bands[QUARTER] = 0
    assert read(write_raster(tmp_path / "a.tif", bands), "DN", declared)[0].sum() == missing


def test_none_overrules_the_header(tmp_path: Path) -> None:
    bands = values("uint8", 20, 200)
    bands[QUARTER] = 0
    path = write_raster(tmp_path / "a.tif", bands, nodata=0)
    assert read(path, "DN")[0].sum() == 64
    assert read(path, "DN", Declared(nodata="none"))[0].sum() == 0


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", ["internal", "sidecar", "alpha"])
def test_masks_of_files(tmp_path: Path, kind: str) -> None:
    bands, valid = values("uint16", 100, 900), np.ones((16, 16), bool)
    bands[QUARTER], valid[QUARTER[1:]] = 700, False
    path = tmp_path / "a.tif"
    form = {"driver": "GTiff", "dtype": "uint16", "height": 16, "width": 16}
    if kind == "alpha":
        with rasterio.open(
            path, "w", count=3, alpha="YES", photometric="MINISBLACK", **form
        ) as raster:
            raster.colorinterp = [
                rasterio.enums.ColorInterp.gray,
                rasterio.enums.ColorInterp.undefined,
                rasterio.enums.ColorInterp.alpha,
            ]
            raster.write(np.concatenate([bands, valid[None] * np.uint16(65535)]))
    else:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "internal"),
            rasterio.open(path, "w", count=2, **form) as raster,
        ):
            raster.write(bands)
            raster.write_mask(valid)
        assert os.path.exists(f"{path}.msk") == (kind == "sidecar")
    missing, reasons = read(path, "DN")
    np.testing.assert_array_equal(missing, ~valid)
    assert reasons == {"mask": 64}


def test_fourth_byte_band_is_no_alpha(tmp_path: Path) -> None:
    bands = np.random.default_rng(0).integers(0, 3, (4, 8, 8), dtype=np.uint8)
    path = write_raster(tmp_path / "a.tif", bands)
    modality = Modality(("B02", "B03", "B04", "B08"), "DN", (0, 255))
    np.testing.assert_array_equal(read_raster(path, modality).values, bands)


def test_power_below_noise_is_measured() -> None:
    linear = np.array([[[0.1, 0.0, -0.001]], [[0.1, 0.1, 0.1]]])
    stored, missing = encode_pixels(Modality(("VV", "VH"), "linear", (-40, 10)), linear)
    assert not missing.any()
    assert stored[:, 0].tolist() == [[-1000, -4000, -4000], [-1000] * 3]


@pytest.mark.parametrize(
    ("units", "scale", "offset", "word", "expected"),
    [
        ("DN", 1e-4, -0.1, "auto", 500),
        ("DN", 1.0, -1000.0, "auto", 500),
        ("DN", 1e-4, 0.0, "auto", 1500),
        ("DN", 1e-4, -0.1, 0.0, 1500),
        ("DN", 1.0, 0.0, -1000.0, 500),
        ("reflectance", 1e-4, -0.1, "auto", 0.05),
        ("reflectance", 1e-4, 0.0, -0.1, 0.05),
        ("dB", 0.01, 0.0, "auto", 15.0),
    ],
)
def test_physical_values(
    units: Units,
    scale: float,
    offset: float,
    word: Offset,
    expected: float,
) -> None:
    stored = np.full((1, 2, 2), 1500, np.uint16)
    np.testing.assert_allclose(to_units(stored, (scale,), (offset,), units, word), expected)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_mask_per_band(tmp_path: Path) -> None:
    """A `.msk` file without the flag of a common mask holds one mask per band."""
    path = write_raster(tmp_path / "a.tif", values("uint16", 1, 900))
    masks = np.full((2, 16, 16), 255, np.uint8)
    masks[0, :4], masks[1, 12:] = 0, 0
    with rasterio.open(
        f"{path}.msk", "w", driver="GTiff", dtype="uint8", count=2, height=16, width=16
    ) as raster:
        raster.write(masks)
        raster.update_tags(INTERNAL_MASK_FLAGS_1=0, INTERNAL_MASK_FLAGS_2=0)
    missing, reasons = read(path, "DN")
    np.testing.assert_array_equal(missing, (masks == 0).any(0))
    assert reasons == {"mask": 128}


def test_no_data_per_band_in_a_sidecar(tmp_path: Path) -> None:
    bands = values("uint16", 100, 900)
    bands[0, :4], bands[1, 12:], bands[1, :2] = 11, 22, 11
    path = write_raster(tmp_path / "a.tif", bands)
    entries = (
        f'<PAMRasterBand band="{k}"><NoDataValue>{v}</NoDataValue></PAMRasterBand>'
        for k, v in ((1, 11), (2, 22))
    )
    path.with_name("a.tif.aux.xml").write_text(f"<PAMDataset>{''.join(entries)}</PAMDataset>")
    missing, reasons = read(path, "DN")
    assert missing[:4].all()
    assert missing[12:].all()
    assert missing.sum() == 128
    assert reasons == {"nodata": 128}


def test_control_points_are_refused(tmp_path: Path) -> None:
    corners = [(0, 0, 12.0, 46.2), (0, 16, 12.2, 46.2), (16, 0, 12.0, 46.0)]
    gcps = [GroundControlPoint(row, col, x, y) for row, col, x, y in corners]
    path = write_raster(tmp_path / "a.tif", values("float32", -30, -5), gcps=(gcps, "EPSG:4326"))
    with pytest.raises(RasterError, match=r"ground control points.*gdalwarp") as caught:
        read(path, "dB")
    assert caught.value.rule == "georeference"


@pytest.mark.parametrize(
    "turn", [Affine(1, 0, 0, 0, -1, 16), Affine(-1, 0, 16, 0, 1, 0), Affine(-1, 0, 16, 0, -1, 16)]
)
def test_turned_rasters_are_turned_back(tmp_path: Path, turn: Affine) -> None:
    bands, place = values("float32", -30, -5), Affine(10, 0, 6e5, 0, -10, 5.3e6)
    flipped = bands[:, :: int(turn.e), :: int(turn.a)]
    path = write_raster(tmp_path / "a.tif", flipped, crs="EPSG:32633", transform=place @ turn)
    raster = read_raster(path, Modality(("A", "B"), "dB", (-40, 10)))
    np.testing.assert_array_equal(raster.values, bands)
    assert (raster.grids[0].transform, raster.turned) == (place, True)
