from pathlib import Path

import numpy as np
import pytest
from raster_files import noise, write_raster

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
