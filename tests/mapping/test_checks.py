"""Pixel size and offset of a scene, compared with those of training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from raster_files import write_raster
from rasterio import Affine

from eocontrast.mapping.checks import Resolution
from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.mapping.tiles import Tile
from eocontrast.modalities import Modality, Sensor
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.values import AUTOMATIC, Declared
from eocontrast.runtime.errors import UserError

BANDS = ("B02", "B03", "B08")
SPEC = InputSpec(Modality(BANDS, "DN", (0, 10000)), (1000,) * 3, (300,) * 3, 16)
OLD = np.random.default_rng(0).integers(60, 4000, (3, 40, 40)).astype(np.uint16)
NEW = OLD + np.uint16(1000)
SNOW = np.random.default_rng(1).integers((6000, 6500, 1300), (9000, 9500, 5000), (1600, 3)).T


def written(folder: Path, values: NDArray[Any], metres: float = 10, **options: object) -> str:
    place = {"crs": "EPSG:32633", "transform": Affine(metres, 0, 600000, 0, -metres, 5300000)}
    return str(write_raster(folder / "s2.tif", values, "GTiff", **place, **options))


def read(
    path: str, spec: InputSpec, offset: float | None = None, resolution: Resolution | None = None
) -> NDArray[np.integer]:
    files = Declared() if offset is None else Declared(offset=offset)
    with open_scene({"s2": Image(path, files=files)}, {"s2": spec}, True, resolution) as scene:
        return scene.read(Tile(0, 0, scene.grid.height, scene.grid.width))["s2"]


@pytest.mark.parametrize(
    ("trained", "values", "offset", "expected"),
    [
        (False, OLD, None, 0),
        (False, NEW, None, "no band goes below .* --s2-offset -1000"),
        (False, NEW, -1000, -1000),
        (True, NEW, None, 0),
        (True, OLD, None, "no offset of 1000, .* --s2-offset 1000"),
        (True, OLD, 1000, 1000),
        (None, NEW, None, "no band goes below"),
        (None, OLD, None, "may hold the offset.*--s2-offset 0 "),
        (None, OLD, 0, 0),
    ],
)
def test_offset_meets_that_of_training(
    tmp_path: Path,
    trained: bool | None,
    values: NDArray[np.uint16],
    offset: float | None,
    expected: float | str,
) -> None:
    spec, path = replace(SPEC, pixel=10, with_offset=trained), written(tmp_path, values)
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            read(path, spec, offset)
    else:
        np.testing.assert_array_equal(read(path, spec, offset), values + float(expected))


@pytest.mark.parametrize("trained", [True, False, None])
def test_offset_of_the_header(
    tmp_path: Path, trained: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, NEW, scales=(1e-4,) * 3, offsets=(-0.1,) * 3)
    spec = replace(SPEC, pixel=10, with_offset=trained)
    if trained is False:
        np.testing.assert_array_equal(read(path, spec), OLD)
        assert "the offset that the header states is taken off" in capsys.readouterr().err
        return
    with pytest.raises(UserError, match=r"header states an offset.*Pass --s2-offset 0 to keep it"):
        read(path, spec)
    np.testing.assert_array_equal(read(path, spec, -1000), OLD)


def test_bright_ground_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Snow is dark in the short-wave infrared only, so nothing is refused."""
    values = SNOW.reshape(3, 40, 40).astype(np.uint16)
    path = written(tmp_path, values)
    np.testing.assert_array_equal(read(path, replace(SPEC, pixel=10, with_offset=False)), values)
    assert "too bright to show whether" in capsys.readouterr().err


@pytest.mark.parametrize("metres", [0.5, 20, 60])
def test_pixels_of_another_size(
    tmp_path: Path, metres: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path, spec = written(tmp_path, OLD, metres), replace(SPEC, pixel=10, with_offset=False)
    with pytest.raises(UserError, match=f"pixels of {metres:g} m, but .* 10 m"):
        read(path, spec)
    assert read(path, spec, resolution="scene").shape == (3, 40, 40)
    assert read(path, spec, resolution="model").shape == (3, 4 * metres, 4 * metres)
    assert "are resampled to the model's 10 m" in capsys.readouterr().err


def test_weights_without_pixel_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = replace(SPEC, with_offset=False)
    read(written(tmp_path, OLD), spec)
    assert "do not state the pixel size of training; 10 m is assumed" in capsys.readouterr().err
    path = written(tmp_path, OLD, 20)
    resolutions: tuple[Resolution | None, ...] = (None, "model")
    for resolution in resolutions:
        with pytest.raises(UserError, match="do not state the size"):
            read(path, spec, resolution=resolution)
    assert read(path, spec, resolution="scene").shape == (3, 40, 40)


def test_scene_without_georeference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_raster(tmp_path / "s2.tif", OLD))
    read(path, replace(SPEC, pixel=10, with_offset=False))
    assert "no georeference; its pixels are assumed to have 10 m" in capsys.readouterr().err


@pytest.mark.parametrize("trained", [True, False, None])
def test_offset_that_was_taken_off_before(tmp_path: Path, trained: bool | None) -> None:
    path = written(tmp_path, OLD, scales=(1e-4,) * 3, offsets=(-0.1,) * 3)
    spec = replace(SPEC, pixel=10, with_offset=trained)
    with pytest.raises(UserError, match=r"too low to hold it.*Pass --s2-offset 0"):
        read(path, spec)
    np.testing.assert_array_equal(read(path, spec, 0), OLD)


SAR = InputSpec(Modality(("VV", "VH"), "dB", (-40, 10)), (-11, -18), (4, 4), 16, pixel=10)
ECHO = np.random.default_rng(2).normal((-9, -15), 2, (1600, 2)).T.reshape(2, 40, 40)


def mapped(
    folder: Path,
    sensor: Sensor,
    values: NDArray[Any],
    bands: tuple[str, ...] | None = None,
    files: Declared = AUTOMATIC,
    check: bool = True,
) -> NDArray[Any]:
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 600000, 0, -10, 5300000)}
    path = str(write_raster(folder / f"{sensor}.tif", values, "GTiff", **place))
    spec = SAR if sensor == "s1" else replace(SPEC, pixel=10, with_offset=False)
    image = Image(path, bands, files=files)
    with open_scene({sensor: image}, {sensor: spec}, check) as scene:
        return scene.read(Tile(0, 0, 40, 40))[sensor]


@pytest.mark.parametrize(("factor", "base"), [(0.2303, "natural logarithm"), (0.1, "base 10")])
def test_logarithms_are_refused(tmp_path: Path, factor: float, base: str) -> None:
    values = (ECHO * factor).astype(np.float32)
    with pytest.raises(UserError, match=rf"{base}.* Convert them.*--no-scale-check"):
        mapped(tmp_path, "s1", values)
    read = mapped(tmp_path, "s1", values, check=False)
    np.testing.assert_allclose(read / 100, values, atol=0.006)


def test_changed_places_are_refused(tmp_path: Path) -> None:
    values = ECHO[::-1].astype(np.float32)
    with pytest.raises(UserError, match=r"changed places.* by --s1-bands"):
        mapped(tmp_path, "s1", values)
    read = mapped(tmp_path, "s1", values, bands=("VH", "VV"))
    np.testing.assert_allclose(read / 100, ECHO, atol=0.006)


@pytest.mark.parametrize(
    ("sensor", "values", "said"),
    [
        ("s1", ECHO / 2, "half of the right decibels"),
        ("s1", ECHO * 2 - 5, "twice the right decibels"),
        ("s2", (OLD * np.array([0.1, 0.1, 1])[:, None, None]).astype(int) // 10, "too dark"),
    ],
)
def test_unlikely_scale_is_a_note(
    tmp_path: Path,
    sensor: Sensor,
    values: NDArray[Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mapped(tmp_path, sensor, values.astype(np.float32 if sensor == "s1" else np.uint16))
    assert f"note: {sensor}: values in" in (told := capsys.readouterr().err)
    assert said in told


@pytest.mark.parametrize("fill", [1000, 777])
def test_undeclared_fill_is_a_note(
    tmp_path: Path, fill: int, capsys: pytest.CaptureFixture[str]
) -> None:
    values = OLD.copy()
    values[:, :10] = fill
    np.testing.assert_array_equal(mapped(tmp_path, "s2", values), values)
    said = f"exactly {fill} in all bands in 25.0% of the pixels"
    assert said in (told := capsys.readouterr().err)
    assert f"pass --s2-nodata {fill}" in told
    files = Declared(nodata=(float(fill),))
    read = mapped(tmp_path, "s2", values, files=files)
    # a pixel with the declared value in any band is missing
    void = (values == fill).any(axis=0)
    np.testing.assert_array_equal(read, np.where(void, SPEC.modality.storage.nodata, values))
    assert "exactly" not in capsys.readouterr().err


def test_empty_block_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = OLD.copy()
    values[1, :10] = 0
    np.testing.assert_array_equal(mapped(tmp_path, "s2", values), values)
    said = f"note: s2: {SPEC.modality.bands[1]} is exactly 0 in a rectangle of 25.0%"
    assert said in capsys.readouterr().err


def test_fill_that_got_the_offset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fill of 0 is 1000 in the file, and 0 again when the offset is taken off."""
    values = NEW.copy()
    values[:, :10] = 1000
    read = mapped(tmp_path, "s2", values, files=Declared(offset=-1000))
    assert (read[:, :10] == 0).all()
    assert "exactly 0 in all bands in 25.0%" in (told := capsys.readouterr().err)
    assert "pass --s2-nodata 1000" in told
    files = Declared(nodata=(1000.0,), offset=-1000)
    assert (mapped(tmp_path, "s2", values, files=files)[:, :10] == 65535).all()
    assert "exactly" not in capsys.readouterr().err


def test_offset_that_nothing_states_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read(written(tmp_path, NEW), replace(SPEC, pixel=10, with_offset=True))
    assert "offset of 1000, which nothing states; it is kept" in capsys.readouterr().err
    snow = SNOW.reshape(3, 40, 40).astype(np.uint16)
    read(written(tmp_path, snow), replace(SPEC, pixel=10, with_offset=None))
    assert "they are taken as they are" in capsys.readouterr().err
