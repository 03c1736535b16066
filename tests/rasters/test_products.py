from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from raster_files import write_raster

from eocontrast.modalities import SENTINEL2_L2A, Modality
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.products import raster_files
from eocontrast.rasters.read import read_raster

OLD = "S2A_MSIL2A_20190520T101601_N0212_R065_T33TVN_20190520T120000.SAFE"
NEW = "S2B_MSIL2A_20230520T101601_N0509_R065_T33TVN_20230520T120000.SAFE"
METRES = {"B02": 10, "B03": 10, "B04": 10, "B08": 10, "B01": 60, "B09": 60}


def write_product(folder: Path, value: int = 1500) -> Path:
    """Write a Level-2A product of 120 m; coarse copies of fine bands lie beside them."""
    for band in SENTINEL2_L2A.bands:
        for metres in {METRES.get(band, 20), 60}:
            side = 120 // metres
            name = f"GRANULE/L2A_T33TVN/IMG_DATA/R{metres}m/T33TVN_20230520_{band}_{metres}m.tif"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_raster(
                folder / name, np.full((1, side, side), value + metres, np.uint16),
                crs="EPSG:32633", transform=Affine(metres, 0, 6e5, 0, -metres, 5.3e6),
            )  # fmt: skip
    return folder


@pytest.mark.parametrize(("name", "offset"), [(OLD, 0), (NEW, -1000), ("renamed", 0)])
def test_product_is_read_finest_first(tmp_path: Path, name: str, offset: int) -> None:
    values = read_raster(write_product(tmp_path / name), SENTINEL2_L2A).values
    expected = [1500 + METRES.get(band, 20) + offset for band in SENTINEL2_L2A.bands]
    assert values.shape == (12, 12, 12)
    np.testing.assert_array_equal(values[:, 5, 5], expected)


def test_wildcards_beside_the_band(tmp_path: Path) -> None:
    folder = write_product(tmp_path / "x")
    pattern = folder / "GRANULE/*/IMG_DATA/R??m/T33TVN_20230520_{band}_??m.tif"
    assert [file.name[-7:] for file in raster_files(pattern, ("B02", "B05", "B01"))] == [
        "10m.tif", "20m.tif", "60m.tif",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("tags", "offset"),
    [
        ({"PROCESSING_BASELINE": "05.09"}, -1000),
        ({"PROCESSING_BASELINE": "02.12"}, 0),
        ({"PRODUCT_URI": NEW}, -1000),
        ({"PROCESSING_BASELINE": "99.99"}, 0),
        ({"AREA_OR_POINT": "Area"}, 0),
    ],
)
def test_tags_state_the_offset(tmp_path: Path, tags: dict[str, str], offset: int) -> None:
    """GDAL copies the tags when it converts a product."""
    path = write_raster(tmp_path / "a.tif", np.full((1, 8, 8), 1500, np.uint16))
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(**tags)
    values = read_raster(path, Modality(("B02",), "DN", (0, 10000))).values
    np.testing.assert_array_equal(values, 1500 + offset)


@pytest.mark.parametrize("offset", [-1000, -900])
def test_metadata_states_the_offset(tmp_path: Path, offset: int) -> None:
    granule = tmp_path / "renamed/GRANULE/L2A/IMG_DATA/R10m"
    granule.mkdir(parents=True)
    text = f'<a><BOA_ADD_OFFSET band_id="0">{offset}</BOA_ADD_OFFSET></a>'
    (tmp_path / "renamed/MTD_MSIL2A.xml").write_text(text)
    values = np.full((1, 8, 8), 1500, np.uint16)
    write_raster(granule / "T33_B02_10m.jp2", values, "JP2OpenJPEG")
    read = read_raster(tmp_path / "renamed", Modality(("B02",), "DN", (0, 10000))).values
    assert np.abs(read - (1500 + offset)).max() < 10  # this JPEG 2000 is lossy


@pytest.mark.parametrize(
    "path",
    [
        "S1A_IW_GRDH_1SDV_20200101T000000_20200101T000025_030000_0370AA_1234.SAFE",
        "x/S1B_IW_SLC__1SDV_20200101T000000_20200101T000025_030000_0370AA_1234.SAFE/a.tif",
    ],
)
def test_radar_products_are_refused(path: str) -> None:
    with pytest.raises(RasterError, match="terrain-correct it"):
        raster_files(path, ("VV",))


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="holds no file of B02"):
        raster_files(tmp_path, ("B02",))


@pytest.mark.parametrize("name", ["{band}.tif", "*{band}.tif"])
def test_brackets_are_part_of_a_name(tmp_path: Path, name: str) -> None:
    for folder, value in (("site1", 1), ("site[1]", 2)):
        (tmp_path / folder).mkdir()
        for band in ("B02", "B03"):
            write_raster(tmp_path / folder / f"{band}.tif", np.full((1, 4, 4), value, np.uint16))
    modality = Modality(("B02", "B03"), "DN", (0, 10000))
    raster = read_raster(str(tmp_path / "site[1]" / name), modality)
    assert (raster.values == 2).all()
