"""Whatever rasterio can write comes back as the physical values that were put in."""

import tempfile
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.shutil import copy

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.values import Declared, NoData, Offset

BANDS = ("B02", "B03", "B04")
DTYPES = (
    "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64",
)  # fmt: skip
COMPRESSION = ("NONE", "LZW", "DEFLATE", "ZSTD", "PACKBITS", "LZMA", "LERC", "LERC_ZSTD")


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    compression=st.sampled_from(COMPRESSION),
    tiled=st.booleans(),
    interleave=st.sampled_from(["PIXEL", "BAND"]),
    nodata=st.sampled_from([None, 0, 7, 100]),
    scales=st.tuples(*[st.sampled_from([1.0, 0.5, 0.01])] * 3),
    offsets=st.tuples(*[st.sampled_from([0.0, 2.0, -0.1])] * 3),
    masked=st.booleans(),
    order=st.permutations(range(3)),
    described=st.booleans(),
    south_up=st.booleans(),
    east_west=st.booleans(),
    seed=st.integers(0, 99),
)
def test_values_come_back(
    dtype: str, compression: str, tiled: bool, interleave: str, nodata: int | None,
    scales: tuple[float, ...], offsets: tuple[float, ...], masked: bool, order: list[int],
    described: bool, south_up: bool, east_west: bool, seed: int,
) -> None:  # fmt: skip
    assume(not (compression.startswith("LERC") and dtype.endswith("int64")))  # GDAL has none
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 120 if dtype == "int8" else 250, (3, 20, 33)).astype(dtype)
    stored[:, 3, 4] = 0
    valid = rng.random((20, 33)) > 0.2 if masked else np.ones((20, 33), bool)
    order = order if described else [0, 1, 2]
    on_disk, shown = stored[order], valid
    transform = Affine(10, 0, 600000, 0, -10, 5300000)
    if south_up:
        on_disk, shown = on_disk[:, ::-1], shown[::-1]
        transform @= Affine(1, 0, 0, 0, -1, 20)
    if east_west:
        on_disk, shown = on_disk[:, :, ::-1], shown[:, ::-1]
        transform @= Affine(-1, 0, 33, 0, 1, 0)
    layout = {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.tif")
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path, "w", driver="GTiff", dtype=dtype, count=3, height=20, width=33,
                nodata=nodata, crs="EPSG:32633", transform=transform, compress=compression,
                interleave=interleave, **layout,
            ) as raster,
        ):  # fmt: skip
            raster.write(on_disk)
            raster.scales = [scales[place] for place in order]
            raster.offsets = [offsets[place] for place in order]
            if masked:
                raster.write_mask(shown)
            if described:
                raster.descriptions = [BANDS[place] for place in order]
        raster_read = read_raster(path, Modality(BANDS, "linear", (0, 1)))
    missing = np.broadcast_to(~valid, stored.shape).copy()
    if nodata is not None:
        missing |= stored == nodata
    if np.dtype(dtype).itemsize > 1:
        missing |= (stored == 0).all(0)
    scale, offset = (np.array(numbers)[:, None, None] for numbers in (scales, offsets))
    expected = np.where(missing, np.nan, stored.astype(float) * scale + offset)
    np.testing.assert_allclose(raster_read.values, expected, rtol=1e-6)
    assert raster_read.grids[0].transform == Affine(10, 0, 600000, 0, -10, 5300000)


FORMATS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "GTiff": (DTYPES, {"BIGTIFF": "YES"}),
    "COG": (DTYPES, {"PREDICTOR": "YES", "BLOCKSIZE": "128"}),
    "VRT": (DTYPES, {}),
    "ENVI": (("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"), {}),
    "HFA": (("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"), {}),
    "PNG": (("uint8", "uint16"), {}),
    "JP2OpenJPEG": (("uint8", "int16", "uint16"), {"REVERSIBLE": "YES", "QUALITY": "100"}),
}
"""Types and options of each format; all of them keep values as they are."""

FILLS = {"int16": -32768, "uint16": 65535, "int32": -9999, "uint32": 65535, "float32": -3.4e38}
"""Values that no sensor gives, of types that hold them."""


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([(name, dtype) for name, of in FORMATS.items() for dtype in of[0]]),
    units=st.sampled_from(["DN", "reflectance", "dB", "linear"]),
    nodata=st.sampled_from(["auto", "none", (50.0,), (50.0, 60.0)]),
    offset=st.sampled_from(["auto", 0.0, -100.0, 7.5]),
    seed=st.integers(0, 99),
)
def test_words_of_the_user_hold_in_every_format(
    kind: tuple[str, str], units: Units, nodata: NoData, offset: Offset, seed: int
) -> None:
    driver, dtype = kind
    values = np.random.default_rng(seed).integers(1, 120, (3, 20, 33)).astype(dtype)
    values[2] += values[2] == values[0]  # as reflectance, 83 in every band would be fill
    values[:, :4, :4] = 0
    odd = np.zeros(values.shape, bool)
    odd[1, 9, 5:7] = True
    values[odd] = FILLS.get(dtype, 1)
    if values.dtype.kind == "f":
        values[2, 12, 3] = np.nan
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 600000, 0, -10, 5300000)}
    with tempfile.TemporaryDirectory() as folder:
        plain, path = Path(folder, "plain.tif"), Path(folder, f"a.{driver.lower()}")
        shape = {"count": 3, "height": 20, "width": 33, "dtype": dtype}
        with rasterio.open(plain, "w", driver="GTiff", **shape, **place) as raster:
            raster.write(values)
        copy(plain, path, driver=driver, **FORMATS[driver][1])
        modality, declared = Modality(BANDS, units, (0, 1)), Declared(nodata, offset)
        found = read_raster(path, modality, declared).values
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    if nodata != "none":
        numbers = () if nodata == "auto" else nodata
        missing |= np.isin(values, numbers)
        if values.dtype.itemsize > 1:
            missing |= (values == 0).all(0)
            missing |= odd & (dtype in FILLS)
    shift = 0 if offset == "auto" else offset
    expected = np.where(missing, np.nan, values.astype(np.float64) + shift)
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=1e-6)
