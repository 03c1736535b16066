from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from raster_files import noise, write_raster
from rasterio.windows import Window

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.image import open_image
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import bands_size, read_raster

TWO = Modality(("B01", "B02"), "DN", (0, 10000))


def test_read_keeps_order_and_type(tmp_path: Path) -> None:
    bands = noise(2, 7, 5).astype(np.uint16)
    path = write_raster(tmp_path / "a.tif", bands)
    values = read_raster(str(path), TWO).values
    assert bands_size(path, TWO) == (7, 5)
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, bands)


def test_read_window_of_some_bands(tmp_path: Path) -> None:
    bands = noise(3, 20, 30)
    path = write_raster(tmp_path / "a.tif", bands, descriptions=("B03", "B99", "B02"), nodata=7)
    expected = np.where(bands == 7, np.nan, bands)[[2, 0], 5:15, 8:24]
    with open_image(path, ("B02", "B10", "B03"), "DN", optional=("B10",)) as image:
        assert image.bands == ("B02", "B03")
        window = Window(8, 5, 16, 10)
        np.testing.assert_array_equal(image.read(window), expected)
        assert image.read(window, out_shape=(5, 8)).shape == (2, 5, 8)


def test_read_one_file_per_band(tmp_path: Path) -> None:
    for band, pixel in (("B01", 20), ("B02", 10)):
        bands = noise(1, 80 // pixel, 80 // pixel)
        write_raster(
            tmp_path / f"x_{band}.tif", bands, crs="EPSG:32633",
            transform=Affine(pixel, 0, 600000, 0, -pixel, 5300000),
        )  # fmt: skip
    raster = read_raster(tmp_path / "x_{band}.tif", TWO)
    assert raster.values.shape == (2, 8, 8)
    assert [grid.pixel for grid in raster.grids] == [20, 10]
    assert {grid.bounds for grid in raster.grids} == {(600000, 5299920, 600080, 5300000)}


def test_sizes_of_other_ground(tmp_path: Path) -> None:
    write_raster(tmp_path / "x_B01.tif", noise(1, 50, 60))
    write_raster(tmp_path / "x_B02.tif", noise(1, 120, 120))
    with pytest.raises(RasterError, match="same ground") as caught:
        bands_size(tmp_path / "x_{band}.tif", TWO)
    assert caught.value.rule == "size"


def test_declared_nodata(tmp_path: Path) -> None:
    bands = noise(2, 4, 4).astype(np.float32)
    bands[0, 0, 0], bands[1, 1, 1] = -3.4e38, np.nan
    path = write_raster(tmp_path / "a.tif", bands, nodata=-3.4e38)
    missing = np.isnan(read_raster(path, TWO).values)
    assert np.argwhere(missing).tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("units", "expected"), [("DN", 200), ("reflectance", 0.02)])
def test_declared_scale_and_offset(tmp_path: Path, units: Units, expected: float) -> None:
    stored = np.full((1, 2, 2), 1200, dtype=np.uint16)
    path = write_raster(tmp_path / "a.tif", stored, scales=(1e-4,), offsets=(-0.1,))
    values = read_raster(path, Modality(("A",), units, (0, 1))).values
    np.testing.assert_allclose(values, expected)


@pytest.mark.parametrize(
    ("bands", "names", "declared", "message"),
    [
        (noise(3, 4, 4), (), TWO.bands, r"a.tif has 3 bands, expected 2: B01, B02; name its"),
        (noise(1, 4, 4), (), TWO.bands, "has 1 band, expected 2"),
        (noise(2, 4, 4), ("B02", "B01"), TWO.bands, "bands as B02, B01, but they are declared as"),
        (noise(3, 4, 4), (), None, "has 3 bands, expected 2: B01, B02; name .* by --s2-bands"),
        (noise(2, 4, 4), ("b", "b"), None, "bands as b: no names of bands; .* --s2-bands"),
        (noise(2, 4, 4), ("B02", "B03"), None, "a.tif has no band B01; it has B02, B03"),
        (noise(2, 4, 4), ("VV", "VH"), None, "has VV, VH. Are the images of s1 and s2 swapped"),
    ],
)
def test_other_bands_are_refused(
    tmp_path: Path, bands: NDArray[Any], names: tuple[str, ...],
    declared: tuple[str, ...] | None, message: str,
) -> None:  # fmt: skip
    path = write_raster(tmp_path / "a.tif", bands, descriptions=names or [None] * len(bands))
    with (
        pytest.raises(RasterError, match=message) as caught,
        open_image(path, TWO.bands, "DN", declared),
    ):
        pass
    assert caught.value.rule == "bands"
