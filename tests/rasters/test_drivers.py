"""Formats beyond plain GeoTIFF: virtual rasters, JPEG 2000, BigTIFF, COG, containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from raster_files import write_raster
from rasterio.crs import CRS
from rasterio.shutil import copy

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.masks import mask_size, read_mask_raster
from eocontrast.rasters.open import RasterError, open_raster, source_files
from eocontrast.rasters.read import read_raster

PLACE: dict[str, Any] = {"crs": CRS.from_epsg(32633), "transform": Affine(10, 0, 6e5, 0, -10, 5e6)}
BANDS = ("B02", "B03")


def pixels(count: int = 2, side: int = 64) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(1100, 4000, (count, side, side)).astype(np.uint16)


def compressed(path: Path, values: NDArray[Any], driver: str, **options: object) -> Path:
    """Write a raster with creation options on the grid of `PLACE`."""
    shape = dict(zip(("count", "height", "width"), values.shape, strict=True))
    form = {"driver": driver, "dtype": values.dtype, **shape, **PLACE, **options}
    with rasterio.open(path, "w", **form) as raster:
        raster.write(values)
    return path


def read(path: Path, units: Units = "DN", bands: tuple[str, ...] = BANDS) -> NDArray[Any]:
    return read_raster(path, Modality(bands, units, (0, 10000))).values


def virtual(path: Path, bands: str, attributes: str = "") -> Path:
    """Write a VRT of 64 x 64 pixels on the grid of `PLACE`."""
    path.write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64" {attributes}><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>600000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}</VRTDataset>"
    )
    return path


def band(number: int, source: str, header: str = "", kind: str = "Simple", own: str = "") -> str:
    """One band of a VRT with one source."""
    return (
        f'<VRTRasterBand dataType="UInt16" band="{number}">{header}<{kind}Source>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename>'
        f"<SourceBand>1</SourceBand>{own}</{kind}Source></VRTRasterBand>"
    )


# --- VRT


def test_vrt_stacks_files_beside_it(tmp_path: Path) -> None:
    values = pixels()
    values[:, :8] = 7
    for name, one in zip(BANDS, values, strict=True):
        (tmp_path / "bands").mkdir(exist_ok=True)
        write_raster(tmp_path / f"bands/{name}.tif", one[None], nodata=7, **PLACE)
    header = "<NoDataValue>7</NoDataValue><Description>{}</Description>"
    path = virtual(
        tmp_path / "a.vrt",
        band(1, "bands/B03.tif", header.format("B3"))
        + band(2, "bands/B02.tif", header.format("blue")),
    )
    expected = np.where(values == 7, np.nan, values.astype(np.float64))
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize("kind", ["mosaic", "subset", "nested", "from gdal"])
def test_vrt_of_files_and_windows(tmp_path: Path, kind: str) -> None:
    values = pixels(1)
    if kind == "mosaic":
        for side, part in (("w", values[..., :32]), ("e", values[..., 32:])):
            write_raster(tmp_path / f"{side}.tif", part, **PLACE)
        rects = (
            '<SrcRect xOff="0" yOff="0" xSize="32" ySize="64"/>'
            '<DstRect xOff="{}" yOff="0" xSize="32" ySize="64"/>'
        )
        halves = "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>'
            f"<SourceBand>1</SourceBand>{rects.format(left)}</SimpleSource>"
            for name, left in (("w", 0), ("e", 32))
        )
        path = virtual(
            tmp_path / "a.vrt",
            f'<VRTRasterBand dataType="UInt16" band="1">{halves}</VRTRasterBand>',
        )
    else:
        larger = np.pad(values, ((0, 0), (8, 8), (8, 8)), constant_values=5)
        write_raster(tmp_path / "a.tif", larger if kind == "subset" else values, **PLACE)
        rects = (
            '<SrcRect xOff="8" yOff="8" xSize="64" ySize="64"/>'
            '<DstRect xOff="0" yOff="0" xSize="64" ySize="64"/>'
        )
        path = virtual(tmp_path / "a.vrt", band(1, "a.tif", own=rects if kind == "subset" else ""))
        if kind == "nested":
            path = virtual(tmp_path / "b.vrt", band(1, "a.vrt"))
        if kind == "from gdal":
            copy(tmp_path / "a.tif", path, driver="VRT")
    np.testing.assert_array_equal(read(path, bands=("B02",)), values)


SCALED = {"scales": (1e-4,), "offsets": (-0.1,)}
HEADER = "<Offset>-0.1</Offset><Scale>0.0001</Scale>"
UNSCALE = "<ScaleOffset>-0.1</ScaleOffset><ScaleRatio>0.0001</ScaleRatio>"


@pytest.mark.parametrize(
    ("source", "header", "own", "units"),
    [
        ({}, HEADER, "", "DN"),
        (SCALED, HEADER, "", "DN"),
        ({}, HEADER, "", "reflectance"),
        (SCALED, "", UNSCALE, "reflectance"),
    ],
)
def test_vrt_with_scale_and_offset(
    tmp_path: Path, source: dict[str, Any], header: str, own: str, units: Units
) -> None:
    values = pixels(1)
    write_raster(tmp_path / "a.tif", values, **source, **PLACE)
    one = band(1, "a.tif", header, "Complex" if own else "Simple", own)
    path = virtual(tmp_path / "a.vrt", one.replace("UInt16", "Float32" if own else "UInt16"))
    expected = (values - 1000.0) * (1 if units == "DN" else 1e-4)
    np.testing.assert_allclose(read(path, units, ("B02",)), expected, rtol=1e-5, atol=1e-5)


def test_vrt_passes_the_mask_on(tmp_path: Path) -> None:
    values, valid = pixels(1), np.ones((64, 64), bool)
    valid[:16, :16] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write_raster(tmp_path / "a.tif", values, **PLACE)
        with rasterio.open(tmp_path / "a.tif", "r+") as raster:
            raster.write_mask(valid)
    copy(tmp_path / "a.tif", tmp_path / "a.vrt", driver="VRT")
    assert "<MaskBand>" in (tmp_path / "a.vrt").read_text()
    expected = np.where(valid, values, np.nan)
    np.testing.assert_array_equal(read(tmp_path / "a.vrt", bands=("B02",)), expected)
    path = virtual(tmp_path / "b.vrt", band(1, "a.tif"))
    with pytest.raises(RasterError, match=r"b\.vrt drops the mask of .*a\.tif.*gdalbuildvrt"):
        read(path, bands=("B02",))


@pytest.mark.parametrize(
    ("source", "bands", "message"),
    [
        ({"nodata": 7}, band(1, "a.tif"), "drops the no-data value 7"),
        ({"nodata": 7}, band(1, "a.tif", "<NoDataValue>0</NoDataValue>"), "no-data value 7"),
        (
            {"nodata": 7},
            band(1, "a.tif", "", "Complex", "<NODATA>7</NODATA>"),
            "drops the no-data value 7",
        ),
        (SCALED, band(1, "a.tif"), "drops scale 0.0001 and offset -0.1"),
        ({}, band(1, "../a.tif"), r"takes pixels from \.\./a\.tif, expected files in its folder"),
        ({}, band(1, "a.vrt"), "takes its pixels from no other file"),
        ({}, band(1, "missing.tif"), "missing.tif: no such file"),
        ({}, "", "from no other file"),
        (
            {},
            band(1, "a.tif", own='<DstRect xOff="0" yOff="0" xSize="64" ySize="60"/>'),
            "no source covers all of band 1",
        ),
        ({}, band(1, "a.tif").replace("band=", 'subClass="VRTRawRasterBand" band='), "computes"),
        ({}, band(1, "a.tif", own="<LUT>0:1,5:2</LUT>"), r"computes pixels .*\(LUT\)"),
    ],
)  # fmt: skip
def test_vrt_that_would_be_misread(
    tmp_path: Path, source: dict[str, Any], bands: str, message: str
) -> None:
    write_raster(tmp_path / "a.tif", pixels(1), **source, **PLACE)
    with pytest.raises(RasterError, match=message) as caught:
        read(virtual(tmp_path / "a.vrt", bands), bands=("B02",))
    assert caught.value.rule == "unreadable"


def test_vrts_that_name_each_other_are_refused(tmp_path: Path) -> None:
    paths = [virtual(tmp_path / f"{n}.vrt", band(1, f"{o}.vrt")) for n, o in ("ab", "ba")]
    for reader in (open_raster, source_files):
        with pytest.raises(RasterError, match="more than 2 VRTs lie behind each other"):
            reader(paths[0])


@pytest.mark.parametrize("name", ["S2B_MSIL1C_20230520T101601_N0509_R065_T33TVN", "T33TVN"])
def test_vrt_of_a_product_knows_its_offset(tmp_path: Path, name: str) -> None:
    values = pixels()
    for one, of in zip(values, BANDS, strict=True):
        folder = tmp_path / f"{name}.SAFE/GRANULE"
        folder.mkdir(parents=True, exist_ok=True)
        write_raster(folder / f"{of}.tif", one[None], **PLACE)
    named = (
        band(k, f"{name}.SAFE/GRANULE/{of}.tif", f"<Description>{of}</Description>")
        for k, of in enumerate(BANDS, 1)
    )
    shift = 1000 if "N0509" in name else 0
    found = read(virtual(tmp_path / "a.vrt", "".join(named)))
    np.testing.assert_array_equal(found, values - np.int64(shift))


@pytest.mark.parametrize("compression", ["JPEG", "DEFLATE"])
def test_mask_behind_a_vrt(tmp_path: Path, compression: str) -> None:
    mask = np.random.default_rng(0).integers(1, 3, (1, 64, 64)).astype(np.uint8)
    compressed(tmp_path / "m.tif", mask, "GTiff", compress=compression)
    path = virtual(tmp_path / "m.vrt", band(1, "m.tif").replace("UInt16", "Byte"))
    if compression == "DEFLATE":
        np.testing.assert_array_equal(read_mask_raster(path).values, mask)
        return
    with pytest.raises(RasterError, match=r"m\.tif: its JPEG compression changes"):
        mask_size(path)


# --- other formats


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({"QUALITY": "100", "REVERSIBLE": "YES"}, 0), ({"QUALITY": "60"}, 800)],
)
def test_jpeg_2000(tmp_path: Path, options: dict[str, str], tolerance: float) -> None:
    values = pixels()
    path = compressed(tmp_path / "a.jp2", values, "JP2OpenJPEG", **options)
    found = read(path).astype(np.float64)
    np.testing.assert_allclose(found, values, atol=tolerance)
    assert (found == values).all() == (tolerance == 0)


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("GTiff", {"BIGTIFF": "YES"}),
        ("GTiff", {"BIGTIFF": "YES", "compress": "ZSTD", "tiled": True, "sparse_ok": True}),
        ("COG", {"blocksize": 128, "compress": "DEFLATE", "overviews": "AUTO"}),
        ("COG", {"blocksize": 128, "compress": "LZW", "predictor": "YES", "nodata": 5}),
    ],
)
def test_large_and_cloud_optimised_files(
    tmp_path: Path, driver: str, options: dict[str, Any]
) -> None:
    values = pixels(side=512)
    if "nodata" in options:
        values[:, :100] = 5
    write_raster(tmp_path / "plain.tif", values, nodata=options.pop("nodata", None), **PLACE)
    path = tmp_path / "a.tif"
    copy(tmp_path / "plain.tif", path, driver=driver, **options)
    with rasterio.open(path) as raster:
        assert raster.overviews(1) == ([2, 4] if driver == "COG" else [])
    assert (path.read_bytes()[2] == 43) == ("BIGTIFF" in options)
    expected = np.where(values == 5, np.nan, values.astype(np.float64))
    np.testing.assert_array_equal(read(path), expected)


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [
        ("a.nc", b"CDF\x01", "netCDF"),
        ("b.nc", b"\x89HDF\r\n\x1a\n", "netCDF-4 or HDF5"),
        ("c.h5", b"\x89HDF\r\n\x1a\n", "netCDF-4 or HDF5"),
        ("d.grib2", b"GRIB", "GRIB"),
    ],
)
def test_containers_are_refused(tmp_path: Path, name: str, start: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(start + bytes(600))
    with pytest.raises(RasterError, match=rf"it is {kind}, .* gdal_translate"):
        read(tmp_path / name)
