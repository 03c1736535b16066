from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from raster_files import noise, write_raster
from rasterio.env import getenv

from eocontrast.rasters.open import (
    DRIVERS,
    RasterError,
    gdal_settings,
    open_raster,
    read_values,
)

NAMES = dict(zip(DRIVERS, ("a.tif", "a.png", "a.jpg", "a.jp2", "a.dat", "a.img"), strict=True))


def test_gdal_settings_enter_once(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", noise(2, 7, 5))
    with gdal_settings():
        entered = getenv()
        assert isinstance(gdal_settings(), nullcontext)
        open_raster(path).close()
        assert getenv() == entered
    with rasterio.Env(GTIFF_VIRTUAL_MEM_IO="NO"), gdal_settings():
        assert getenv() == {**getenv(), **entered}


@pytest.mark.parametrize("driver", DRIVERS)
def test_read_truncated_file(tmp_path: Path, driver: str) -> None:
    path = write_raster(tmp_path / NAMES[driver], noise(1, 256, 256), driver)

    def read() -> tuple[int, ...]:
        with gdal_settings(), open_raster(path) as raster:
            return read_values(path, raster).shape

    assert read() == (1, 256, 256)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RasterError, match=path.name) as caught:
        read()
    assert caught.value.rule == "unreadable"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("missing.tif", None),
        ("empty.tif", b""),
        ("text.tif", b"no raster"),
        ("header.tif", b"II*\x00"),
        ("page.png", b"<html>\n<p>404</p>\n</html>"),
    ],
)
def test_open_other_content(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RasterError, match=name) as caught:
        open_raster(tmp_path / name)
    assert caught.value.rule == "unreadable"
    assert "\n" not in str(caught.value)


def test_open_folder(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="no such file"):
        open_raster(tmp_path)


def test_open_complex_values(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", noise(1, 4, 4).astype(np.complex64))
    with pytest.raises(RasterError, match="complex") as caught:
        open_raster(path)
    assert caught.value.rule == "dtype"


def test_open_pointer_to_other_file(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", noise(1, 4, 4))
    other = tmp_path / "other.tif"
    other.write_text(
        f'<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{path}</SourceFilename></SimpleSource></VRTRasterBand>"
        "</VRTDataset>"
    )
    for name in (other, Path(f"/vsizip/{path}"), Path("https://localhost/a.tif")):
        with pytest.raises(RasterError):
            open_raster(name)


@pytest.mark.parametrize(
    ("name", "start", "advice"),
    [
        ("S2A_MSIL2A.zip", b"PK\x03\x04", "it is an archive: unpack it"),
        ("s2.tif", b"PK\x03\x04", "it is an archive: unpack it"),
        ("s2.npy", b"\x93NUMPY", "array of NumPy: write it as GeoTIFF"),
        ("S1.dim", b"<Dimap_Document/>", r"name the rasters by .*S1.data/Sigma0_{band}.img"),
        ("MTD_MSIL2A.xml", b"<n1/>", "metadata of a product, name its folder"),
        ("manifest.safe", b"<xfdu/>", "metadata of a product, name its folder"),
        ("s2.gif", b"GIF89a", "convert it to one of these"),
    ],
)
def test_advice_about_other_formats(tmp_path: Path, name: str, start: bytes, advice: str) -> None:
    (tmp_path / name).write_bytes(start + bytes(64))
    with pytest.raises(RasterError, match=advice):
        open_raster(tmp_path / name)


@pytest.mark.parametrize("pages", [2, 3])
def test_pages_are_refused(tmp_path: Path, pages: int) -> None:
    images = [Image.fromarray(noise(8, 8)) for _ in range(pages)]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    with pytest.raises(RasterError, match=f"{pages} images .pages., expected one") as caught:
        open_raster(tmp_path / "a.tif")
    assert caught.value.rule == "unreadable"


def test_previews_are_no_pages(tmp_path: Path) -> None:
    images = [Image.fromarray(noise(side, side)) for side in (8, 4)]
    images[0].save(tmp_path / "a.tif", save_all=True, append_images=images[1:])
    with open_raster(tmp_path / "a.tif") as raster:
        assert np.array_equal(raster.read(1), noise(8, 8))


def test_raw_file_behind_a_header_is_truncated(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.dat", noise(1, 8, 8), driver="ENVI")
    header = tmp_path / "a.hdr"
    header.write_text(header.read_text().replace("header offset = 0", "header offset = 16"))
    path.write_bytes(bytes(16) + noise(1, 8, 8).tobytes())
    with open_raster(path) as raster:
        assert np.array_equal(raster.read(), noise(1, 8, 8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RasterError, match="79 bytes, its header promises 80"):
        open_raster(path)
