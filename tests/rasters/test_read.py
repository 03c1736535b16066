import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.env import getenv
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.modalities import Modality
from eocontrast.rasters.read import (
    DRIVERS,
    RasterError,
    bands_size,
    expand,
    gdal_settings,
    mask_size,
    open_raster,
    read_bands,
    read_mask_raster,
    read_raster,
)
from eocontrast.runtime.errors import UserError

TWO = Modality(("B01", "B02"), "DN", (0, 10000))
ONE = Modality(("A",), "DN", (0, 255))


def write(
    path: Path, bands: NDArray[np.generic], driver: str = "GTiff", **attributes: object
) -> Path:
    """Bands of shape (bands, H, W) as a raster without georeference."""
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver=driver, dtype=bands.dtype, **shape) as raster:
            for name, value in attributes.items():
                setattr(raster, name, value)
            raster.write(bands)
    return path


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def test_a_band_placeholder_stands_for_one_file_a_band() -> None:
    assert expand("x/a_{band}.tif", ("VV", "VH")) == [Path("x/a_VV.tif"), Path("x/a_VH.tif")]
    assert expand("x/a.tif", ("VV", "VH")) == [Path("x/a.tif")]


def test_values_come_back_in_order(tmp_path: Path) -> None:
    bands = noise(2, 7, 5).astype(np.uint16)
    path = write(tmp_path / "a.tif", bands)
    assert bands_size(path, TWO) == (7, 5)
    np.testing.assert_array_equal(read_bands(str(path), TWO), bands)


def test_settings_of_gdal_are_entered_once_for_many_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(2, 7, 5))
    with gdal_settings():
        entered = getenv()
        assert isinstance(gdal_settings(), nullcontext)
        read_raster(path, TWO)
        assert getenv() == entered
    with rasterio.Env(GTIFF_VIRTUAL_MEM_IO="NO"), gdal_settings():
        assert getenv() == {**getenv(), **entered}


def test_a_coarse_ramp_stays_the_ramp_on_the_fine_grid(tmp_path: Path) -> None:
    """Pixel centres of a 60 m band lie at 30, 90, ... m, those of a 10 m band at 5, 15, ... m."""
    north, east = np.mgrid[30:1200:60, 30:1200:60]
    write(tmp_path / "x_B01.tif", (100 + 2 * east + 0.5 * north)[None].astype(np.float32))
    write(tmp_path / "x_B02.tif", noise(1, 120, 120))
    coarse = read_bands(str(tmp_path / "x_{band}.tif"), TWO)[0]
    north, east = np.mgrid[5:1200:10, 5:1200:10].clip(30, 1170)
    np.testing.assert_allclose(coarse, 100 + 2 * east + 0.5 * north)


def test_no_data_in_a_coarse_band_spreads_no_further_than_its_neighbours(tmp_path: Path) -> None:
    coarse = np.full((1, 10, 10), 7, dtype=np.uint16)
    coarse[0, 4, 4] = 0
    write(tmp_path / "x_B01.tif", coarse, nodata=0)
    write(tmp_path / "x_B02.tif", noise(1, 20, 20))
    values = read_bands(str(tmp_path / "x_{band}.tif"), TWO)[0]
    missing = np.zeros((20, 20), dtype=bool)
    missing[7:11, 7:11] = True
    np.testing.assert_array_equal(np.isnan(values), missing)
    np.testing.assert_array_equal(values[~missing], 7)


def test_bands_of_one_patch_must_cover_the_same_ground(tmp_path: Path) -> None:
    write(tmp_path / "x_B01.tif", noise(1, 50, 60))
    write(tmp_path / "x_B02.tif", noise(1, 120, 120))
    with pytest.raises(UserError, match=r"x_B01.tif is 50 x 60 pixels .* same ground"):
        bands_size(str(tmp_path / "x_{band}.tif"), TWO)


def test_declared_no_data_is_nan(tmp_path: Path) -> None:
    bands = noise(2, 4, 4).astype(np.float32)
    bands[0, 0, 0], bands[1, 1, 1] = -3.4e38, np.nan
    values = read_bands(write(tmp_path / "a.tif", bands, nodata=-3.4e38), TWO)
    assert np.argwhere(np.isnan(values)).tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("units", "expected"), [("DN", 1200), ("reflectance", 0.02)])
def test_a_declared_scale_holds_unless_units_are_digital_numbers(
    tmp_path: Path, units: str, expected: float
) -> None:
    stored = np.full((1, 2, 2), 1200, dtype=np.uint16)
    path = write(tmp_path / "a.tif", stored, scales=(1e-4,), offsets=(-0.1,))
    modality = Modality(("A",), units, (0, 1))  # type: ignore[arg-type]
    np.testing.assert_allclose(read_bands(path, modality), expected)


def test_another_number_of_bands_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(3, 4, 4))
    with pytest.raises(UserError, match=r"a.tif: 3 band\(s\), expected 2: B01, B02"):
        read_bands(path, TWO)


def test_bands_described_in_another_order_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(2, 4, 4), descriptions=("B02", "B01"))
    with pytest.raises(UserError, match="bands are B02, B01, declared B01, B02"):
        bands_size(path, TWO)


def test_complex_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="complex"):
        bands_size(write(tmp_path / "a.tif", noise(1, 4, 4).astype(np.complex64)), ONE)


NAMES = dict(zip(DRIVERS, ("a.tif", "a.png", "a.jpg", "a.jp2", "a.dat", "a.img"), strict=True))


@pytest.mark.parametrize("driver", DRIVERS)
def test_half_a_file_is_no_raster(tmp_path: Path, driver: str) -> None:
    name = NAMES[driver]
    path = write(tmp_path / name, noise(1, 256, 256), driver)
    assert read_bands(path, ONE).shape == (1, 256, 256)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=name):
        read_bands(path, ONE)


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("missing.tif", None, "unreadable"),
        ("empty.tif", b"", "unreadable"),
        ("text.tif", b"no raster", "unreadable"),
        ("header.tif", b"II*\x00", "unreadable"),
        ("page.png", b"<html>\n<p>404</p>\n</html>", "unreadable"),
    ],
)
def test_what_is_no_raster_is_said_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, rule: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RasterError, match=name) as caught:
        read_bands(tmp_path / name, ONE)
    assert caught.value.rule == rule
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_raster(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="no such file"):
        read_bands(tmp_path, ONE)


@pytest.mark.parametrize(
    ("bands", "options", "rule"),
    [
        (noise(3, 4, 4), {}, "bands"),
        (noise(2, 4, 4), {"descriptions": ("B02", "B01")}, "bands"),
        (noise(2, 4, 4).astype(np.complex64), {}, "dtype"),
    ],
)
def test_a_fault_has_the_name_of_its_rule(
    tmp_path: Path, bands: NDArray[np.generic], options: dict[str, tuple[str, str]], rule: str
) -> None:
    with pytest.raises(RasterError) as caught:
        read_bands(write(tmp_path / "a.tif", bands, "GTiff", **options), TWO)
    assert caught.value.rule == rule


def test_a_raster_says_where_each_of_its_files_lies(tmp_path: Path) -> None:
    for band, pixel in (("B01", 20), ("B02", 10)):
        place = rasterio.Affine(pixel, 0, 600000, 0, -pixel, 5300000)
        bands = noise(1, 80 // pixel, 80 // pixel)
        write(tmp_path / f"x_{band}.tif", bands, transform=place, crs="EPSG:32633")
    places = read_raster(tmp_path / "x_{band}.tif", TWO).places
    assert [place.pixel for place in places] == [20, 10]
    assert {place.bounds for place in places} == {(600000, 5299920, 600080, 5300000)}
    assert all(place.crs is not None and place.crs.to_epsg() == 32633 for place in places)
    assert read_raster(write(tmp_path / "a.tif", noise(2, 4, 4)), TWO).places == ()


def test_what_could_open_other_files_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise(1, 4, 4))
    other = tmp_path / "other.tif"
    other.write_text(
        f'<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{path}</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    for name in (other, Path(f"/vsizip/{path}"), Path("https://localhost/a.tif")):
        with pytest.raises(UserError):
            open_raster(name)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_masks_of_whole_numbers(tmp_path: Path, dtype: str) -> None:
    mask = np.array([[0, 1], [10, 255]], dtype=dtype)
    path = write(tmp_path / "m.tif", np.stack([mask, mask * 0]), nodata=255)
    assert mask_size(path) == (2, 2)
    assert read_mask_raster(path).values[0].tolist() == [[0, 1], [10, -1]]


@pytest.mark.parametrize("value", [0.5, np.inf])
def test_masks_of_other_numbers_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(UserError, match="whole class values"):
        read_mask_raster(write(tmp_path / "m.tif", np.full((1, 2, 2), value, dtype=np.float32)))


def test_pictures_are_no_masks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="colour picture"):
        mask_size(write(tmp_path / "m.png", noise(3, 4, 4), "PNG"))
    with pytest.raises(UserError, match="JPEG"):
        mask_size(write(tmp_path / "m.jpg", noise(1, 4, 4), "JPEG"))
