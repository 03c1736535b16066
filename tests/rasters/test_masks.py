from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from raster_files import noise, write_raster

from eocontrast.rasters.categories import named_values
from eocontrast.rasters.mask_values import explain
from eocontrast.rasters.masks import mask_size, read_mask_raster
from eocontrast.rasters.open import RasterError


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_mask_of_whole_numbers(tmp_path: Path, dtype: str) -> None:
    mask = np.array([[0, 1], [10, 255]], dtype=dtype)
    path = write_raster(tmp_path / "m.tif", mask[None], nodata=255)
    assert mask_size(path) == (2, 2)
    assert read_mask_raster(path).values[0].tolist() == [[0, 1], [10, -1]]


@pytest.mark.parametrize("value", [0.5, np.inf])
def test_mask_of_other_numbers(tmp_path: Path, value: float) -> None:
    path = write_raster(tmp_path / "m.tif", np.full((1, 2, 2), value, dtype=np.float32))
    with pytest.raises(RasterError, match="whole class values"):
        read_mask_raster(path)


@pytest.mark.parametrize(
    ("name", "driver", "bands", "message"),
    [("m.png", "PNG", 3, "colour picture"), ("m.jpg", "JPEG", 1, "JPEG")],
)
def test_mask_from_picture(
    tmp_path: Path, name: str, driver: str, bands: int, message: str
) -> None:
    with pytest.raises(RasterError, match=message):
        mask_size(write_raster(tmp_path / name, noise(bands, 4, 4), driver))


MASK = np.where(np.arange(32) % 4 < 2, 1, 2).astype(np.uint8) * np.ones((1, 32, 1), np.uint8)


def write_mask(path: Path, bands: NDArray[np.uint8], driver: str = "GTiff", **form: object) -> Path:
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    with rasterio.open(path, "w", driver=driver, dtype="uint8", **shape, **form) as raster:
        raster.write(bands)
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("name", "driver", "form"),
    [
        ("m.tif", "GTiff", {"compress": "JPEG"}),
        ("m.jp2", "JP2OpenJPEG", {}),
        ("m.jp2", "JP2OpenJPEG", {"QUALITY": "90"}),
        ("m.tif", "GTiff", {"compress": "LERC", "MAX_Z_ERROR": 1}),
        ("m.tif", "GTiff", {"compress": "LERC_ZSTD", "MAX_Z_ERROR": 0.5}),
    ],
)
def test_lossy_mask_is_refused(
    tmp_path: Path, name: str, driver: str, form: dict[str, object]
) -> None:
    path = write_mask(tmp_path / name, MASK, driver, **form)
    for read in (mask_size, read_mask_raster):
        with pytest.raises(RasterError, match="compression changes class values"):
            read(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("name", "driver", "form"),
    [
        ("m.tif", "GTiff", {"compress": "DEFLATE"}),
        ("m.tif", "GTiff", {"compress": "LERC"}),
        ("m.jp2", "JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES"}),
        ("m.png", "PNG", {}),
    ],
)
def test_lossless_mask_is_read(
    tmp_path: Path, name: str, driver: str, form: dict[str, object]
) -> None:
    path = write_mask(tmp_path / name, MASK, driver, **form)
    np.testing.assert_array_equal(read_mask_raster(path).values, MASK)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("bands", "message"), [(2, "2 bands"), (3, "colour"), (5, "5 bands")])
def test_mask_of_several_bands(tmp_path: Path, bands: int, message: str) -> None:
    form = {"photometric": "RGB"} if bands == 3 else {}
    path = write_mask(tmp_path / "m.tif", MASK.repeat(bands, 0), crs="EPSG:32633", **form)
    with pytest.raises(RasterError, match=rf"{message}.* single band"):
        read_mask_raster(path)


CLASSES = {"wheat": 30, "rye": 10, "oats": 20}
ONE_HOT = np.stack([MASK[0] == 1, MASK[0] == 2, MASK[0] == 7]).astype(np.uint8)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("value", [1, 255])
def test_one_hot_mask(tmp_path: Path, value: int) -> None:
    """One band per class, in the order of the classes, whose values are not sorted."""
    bands = ONE_HOT * np.uint8(value)
    bands[:, :2] = 0
    expected = np.where(MASK[0] == 1, 30, 10)
    expected[:2] = -1
    path = write_mask(tmp_path / "m.tif", bands, crs="EPSG:32633")
    assert mask_size(path, CLASSES, "one_hot") == MASK.shape[1:]
    np.testing.assert_array_equal(read_mask_raster(path, CLASSES, "one_hot").values[0], expected)


@pytest.mark.parametrize(
    ("described", "order"),
    [
        (("Rye", "oats", "WHEAT"), (1, 2, 0)),
        (("background", "rye", "wheat", "oats"), (None, 1, 0, 2)),
        (("wheat", "rye", "oats", "nothing"), (0, 1, 2, None)),
    ],
)
def test_descriptions_of_a_one_hot_mask(
    tmp_path: Path, described: tuple[str, ...], order: tuple[int | None, ...]
) -> None:
    bands = np.stack([0 * MASK[0] if place is None else ONE_HOT[place] for place in order])
    path = write_raster(tmp_path / "m.tif", bands, descriptions=described)
    expected = np.where(MASK[0] == 1, 30, 10)
    assert mask_size(path, CLASSES, "one_hot") == MASK.shape[1:]
    np.testing.assert_array_equal(read_mask_raster(path, CLASSES, "one_hot").values[0], expected)


@pytest.mark.parametrize(
    ("count", "described", "message"),
    [
        (4, (), "has 4 bands, expected one per class: wheat, rye, oats; describe"),
        (
            1,
            (),
            "has 1 band, expected one per class: wheat, rye, oats; set sources.manifest.masks to",
        ),
        (3, ("wheat", "rye", "barley"), "as wheat, rye, barley, but the classes are wheat, rye"),
        (4, ("wheat", "wheat", "rye", "oats"), "but the classes are"),
    ],
)
def test_one_hot_mask_of_other_bands(
    tmp_path: Path, count: int, described: tuple[str, ...], message: str
) -> None:
    names = described or [None] * count
    path = write_raster(tmp_path / "m.tif", noise(count, 4, 4), descriptions=names)
    with pytest.raises(RasterError, match=message):
        mask_size(path, CLASSES, "one_hot")


@pytest.mark.parametrize("nodata", [0, 9, 255])
def test_no_data_of_a_one_hot_mask(tmp_path: Path, nodata: int) -> None:
    bands = ONE_HOT * np.uint8(1)
    bands[:, :2] = nodata
    expected = np.where(MASK[0] == 1, 30, 10)
    expected[:2] = -1
    path = write_raster(tmp_path / "m.tif", bands, nodata=nodata)
    np.testing.assert_array_equal(read_mask_raster(path, CLASSES, "one_hot").values[0], expected)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("fault", "message"),
    [("two classes", "a pixel of two classes"), ("shares", "the value 3"), ("few", "has 2 bands")],
)
def test_one_hot_mask_is_refused(tmp_path: Path, fault: str, message: str) -> None:
    bands = ONE_HOT[: 2 if fault == "few" else 3] * np.uint8(7)
    bands[0, 5, 5], bands[1, 5, 5] = (7, 7) if fault == "two classes" else (3, 0)
    path = write_mask(tmp_path / "m.tif", bands, crs="EPSG:32633")
    with pytest.raises(RasterError, match=message):
        read_mask_raster(path, {"a": 1, "b": 2, "c": 7}, "one_hot")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_alpha_of_a_mask(tmp_path: Path) -> None:
    bands = np.concatenate([MASK, np.where(MASK == 1, 255, 0).astype(np.uint8)])
    for name, driver in (("m.png", "PNG"), ("m.tif", "GTiff")):
        form = {"ALPHA": "YES"} if driver == "GTiff" else {}
        path = write_mask(tmp_path / name, bands, driver, **form)
        np.testing.assert_array_equal(read_mask_raster(path).values, np.where(MASK == 1, 1, -1))


@pytest.mark.parametrize("header", [{"scales": (10.0,)}, {"offsets": (1.0,)}])
def test_scaled_mask_is_refused(tmp_path: Path, header: dict[str, object]) -> None:
    path = write_raster(tmp_path / "m.tif", MASK, "GTiff", **header)
    with pytest.raises(RasterError, match=r"declares scale .* class values as they are"):
        mask_size(path)


@pytest.mark.parametrize("nodata", [0, 1, 255])
def test_class_that_means_no_data(tmp_path: Path, nodata: int) -> None:
    path = write_raster(tmp_path / "m.tif", noise(1, 4, 4), nodata=nodata)
    with pytest.raises(RasterError, match=f"declares {nodata} as no data, but {nodata} is a class"):
        mask_size(path, {"a": nodata, "b": 7})
    assert mask_size(path, {"a": 6, "b": 7}) == (4, 4)


@pytest.mark.parametrize(
    ("present", "classes", "words"),
    [
        ((0, 1), {"Forest": 1, "Water": 2}, "one below"),
        ((2, 3, 4), {"a": 1, "b": 2, "c": 3}, "one above"),
        ((10, 80), {"Forest": 1, "Water": 2}, "ESA WorldCover"),
        ((0, 255), {"Forest": 1, "Water": 2}, "0 and 255"),
        ((112, 311, 512), {"Forest": 1, "Water": 2}, "CORINE"),
        ((1, 5, 8, 12, 14, 17), {"Forest": 1, "Water": 2}, "IGBP"),
        ((0, 1, 2, 3), {"Forest": 1, "Water": 2}, ""),
    ],
)
def test_values_of_products(present: tuple[int, ...], classes: dict[str, int], words: str) -> None:
    unnamed = {value: 9 for value in present if value not in classes.values()}
    assert words in explain(unnamed, present, classes)
    assert bool(words) == bool(explain(unnamed, present, classes))


CATEGORIES = (
    "<CategoryNames><Category/><Category>{}</Category><Category>{}</Category></CategoryNames>"
)
ATTRIBUTES = (
    "<GDALRasterAttributeTable><FieldDefn index='0'><Name>Count</Name><Usage>1</Usage></FieldDefn>"
    "<FieldDefn index='1'><Name>Value</Name><Usage>5</Usage></FieldDefn>"
    "<FieldDefn index='2'><Name>Class</Name><Usage>2</Usage></FieldDefn>"
    "<Row index='0'><F>7</F><F>1</F><F>{}</F></Row><Row index='1'><F>9</F><F>2</F><F>{}</F></Row>"
    "</GDALRasterAttributeTable>"
)


@pytest.mark.parametrize("kind", [CATEGORIES, ATTRIBUTES])
@pytest.mark.parametrize(
    ("names", "right"),
    [
        (("Forest", "Water"), True),
        (("water", "forest"), False),
        (("Trees", "Sea"), True),
        (("Water", "Sea"), False),
    ],
)
def test_names_in_a_mask(tmp_path: Path, kind: str, names: tuple[str, str], right: bool) -> None:
    path, classes = write_raster(tmp_path / "m.tif", MASK), {"Forest": 1, "Water": 2}
    band = f"<PAMRasterBand band='1'>{kind.format(*names)}</PAMRasterBand>"
    (tmp_path / "m.tif.aux.xml").write_text(f"<PAMDataset>{band}</PAMDataset>")
    if right:
        np.testing.assert_array_equal(read_mask_raster(path, classes).values, MASK)
        return
    with pytest.raises(RasterError, match=r"in the file's own names, but . in sources.manifest"):
        mask_size(path, classes)


@pytest.mark.parametrize("text", ["", "<PAMDataset>", "<PAMDataset/>", "<!DOCTYPE a><PAMDataset/>"])
def test_side_car_without_names(tmp_path: Path, text: str) -> None:
    path = write_raster(tmp_path / "m.tif", MASK)
    (tmp_path / "m.tif.aux.xml").write_text(text)
    assert named_values(path) == {}
