from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from raster_files import write_raster
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as to_crs

from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.mapping.tiles import Tile
from eocontrast.mapping.windows import read_windows
from eocontrast.modalities import Modality, Sensor
from eocontrast.normalisation.audit import audit_sensor
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.read import read_raster
from eocontrast.rasters.values import Declared, encode_pixels
from eocontrast.runtime.errors import UserError

S1 = InputSpec(Modality(("VV", "VH"), "dB", (-40, 10)), (-10, -17), (4, 4), 16, pixel=10)
S2 = InputSpec(
    Modality(("B02", "B03"), "DN", (0, 10000)), (1000, 1000), (300, 300), 16, "band_statistics", 10,
    with_offset=False,
)  # fmt: skip
INPUTS: dict[Sensor, InputSpec] = {"s1": S1, "s2": S2}
PLACE = Affine(10, 0, 600000, 0, -10, 5300000)

WriteImage = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> WriteImage:
    def write_image(name: str, bands: NDArray[Any], **options: object) -> str:
        georeference = {"crs": "EPSG:32633", "transform": PLACE}
        return str(write_raster(tmp_path / name, bands, **{**georeference, **options}))

    return write_image


def digital(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(300, 4000, shape).astype(np.uint16)


def decibel(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(-15, 3, shape).astype(np.float32)


def whole(
    images: dict[Sensor, Image], check_scale: bool = True
) -> dict[Sensor, NDArray[np.integer]]:
    inputs = {sensor: spec for sensor, spec in INPUTS.items() if sensor in images}
    with open_scene(images, inputs, check_scale) as scene:
        return scene.read(Tile(0, 0, scene.grid.height, scene.grid.width))


@pytest.mark.parametrize("crs", [None, "EPSG:32633"])
def test_transforms_without_a_system(tmp_path: Path, crs: str | None) -> None:
    there, system = PLACE @ Affine.translation(500, 0), {"crs": crs} if crs else {}
    file = write_raster(tmp_path / "s2.tif", digital(2, 32, 32), transform=PLACE, **system)
    s2 = Image(str(file))
    s1 = Image(str(write_raster(tmp_path / "s1.tif", decibel(2, 32, 32), transform=there)))
    with pytest.raises(UserError, match=r"s1.tif lies elsewhere than the scene by its transform"):
        whole({"s1": s1, "s2": s2})
    write_raster(tmp_path / "s1.tif", decibel(2, 32, 32), transform=PLACE)
    assert np.array_equal(whole({"s1": s1, "s2": s2})["s2"], digital(2, 32, 32))


def test_window_beyond_the_edge(write: WriteImage) -> None:
    s1, s2 = decibel(2, 50, 70), digital(2, 50, 70)
    s2[:, 40:, 60:] = 0
    images: dict[Sensor, Image] = {
        "s1": Image(write("s1.tif", s1)),
        "s2": Image(write("s2.tif", s2, nodata=0)),
    }
    with open_scene(images, INPUTS) as scene:
        assert scene.grid.crs == CRS.from_epsg(32633)
        assert scene.grid.transform == PLACE
        stored = scene.read(Tile(30, 48, 32, 32))
        valid = scene.has_data(stored)
    np.testing.assert_array_equal(stored["s1"][:, :20, :22], np.rint(s1[:, 30:, 48:] * 100))
    np.testing.assert_array_equal(stored["s2"][:, :10, :12], s2[:, 30:40, 48:60])
    expected = np.zeros((32, 32), dtype=bool)
    expected[:20, :22] = True
    expected[10:, 12:] = False
    np.testing.assert_array_equal(valid, expected)
    assert (stored["s2"][:, ~expected] == 65535).all()


def test_sensor_without_image(write: WriteImage) -> None:
    with open_scene({"s2": Image(write("s2.tif", digital(2, 20, 20)))}, INPUTS) as scene:
        stored = scene.read(Tile(0, 0, 20, 20))
        assert (stored["s1"] == -32768).all()
        assert scene.has_data(stored).all()


@pytest.mark.parametrize("nodata", [None, 0, 700])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_scene_equals_the_store(write: WriteImage, dtype: str, nodata: int | None) -> None:
    """Values beyond the store's range become its ends, which are not its no-data value."""
    bands = digital(2, 20, 20).astype(np.int32)
    bands[0, 3, :4] = 700, 0, 0 if dtype == "uint16" else -5, 65534
    bands[:, 5, 5] = 0
    path = write("a.tif", bands.astype(dtype), nodata=nodata)
    missing = (bands == nodata).any(0) | (bands == 0).all(0)
    expected = np.where(missing, 65535, bands.clip(0, 65534))
    np.testing.assert_array_equal(whole({"s2": Image(path)})["s2"], expected)
    stored, _ = encode_pixels(S2.modality, read_raster(path, S2.modality).values)
    np.testing.assert_array_equal(stored, expected)


def test_bands_by_name(write: WriteImage) -> None:
    bands = digital(3, 20, 20)
    described = write("described.tif", bands, descriptions=("B03", "B99", "B02"))
    plain = write("plain.tif", bands)
    for image in (Image(described), Image(plain, ("B03", "B99", "B02"))):
        np.testing.assert_array_equal(whole({"s2": image})["s2"], bands[[2, 0]])
    ordered = write("ordered.tif", bands[:2])
    np.testing.assert_array_equal(whole({"s2": Image(ordered)})["s2"], bands[:2])


def test_missing_band_is_filled(write: WriteImage) -> None:
    one = digital(1, 20, 20)
    named = write("named.tif", one, descriptions=("B03",))
    plain = write("plain.tif", one)
    pattern = write("y_B03.tif", one).replace("B03", "{band}")
    for path in (named, plain, pattern):
        stored = whole({"s2": Image(path, fill_bands=("B02", "B10"))})["s2"]
        np.testing.assert_array_equal(stored[1], one[0])
        assert (stored[0] == 65535).all()
    both = Image(write("both.tif", digital(2, 20, 20)), ("B02", "B03"), fill_bands=("B02",))
    assert (whole({"s2": both})["s2"] < 65535).all()  # a band that is there is kept
    with pytest.raises(UserError, match=r"has no band B02; it has B03\. .* --fill-bands"):
        whole({"s2": Image(named)})
    other = write("other.tif", one, descriptions=("B09",))
    with pytest.raises(UserError, match="has no band B02, B03; it has B09"):
        whole({"s2": Image(other, fill_bands=("B02", "B03"))})


def test_coarse_band_equals_the_store(write: WriteImage) -> None:
    """Windows of a 60 m band are parts of the whole, with the same missing pixels."""
    fine, coarse = digital(1, 36, 48), digital(1, 6, 8)
    coarse[0, 3, 4] = 0
    write("x_B02.tif", fine)
    path = write("x_B03.tif", coarse, nodata=0, transform=PLACE @ Affine.scale(6))
    pattern = path.replace("B03", "{band}")
    expected, _ = encode_pixels(S2.modality, read_raster(pattern, S2.modality).values)
    with open_scene({"s2": Image(pattern)}, {"s2": S2}) as scene:
        for row, col in ((0, 0), (5, 7), (20, 30)):
            stored = scene.read(Tile(row, col, 16, 18))["s2"]
            part = expected[:, row : row + 16, col : col + 18]
            np.testing.assert_array_equal(stored, part)
    assert 0 < (expected == 65535).mean() < 0.2


@pytest.mark.parametrize("epsg", [32633, 32632, 4326])
def test_sentinel1_on_another_grid(write: WriteImage, epsg: int) -> None:
    """A ramp of ground coordinates: after warping each pixel shows its own position."""
    size, origin = 60, (PLACE.c, PLACE.f)
    xs, ys = to_crs("EPSG:32633", f"EPSG:{epsg}", [origin[0] + 300], [origin[1] - 300])
    pixel = 20.0 if epsg != 4326 else 20 / 111_000
    transform = Affine(pixel, 0, xs[0] - 60 * pixel, 0, -pixel, ys[0] + 60 * pixel)
    rows, cols = np.mgrid[0:120, 0:120] + 0.5
    points = (a.ravel() for a in transform @ (cols, rows))
    east, north = to_crs(f"EPSG:{epsg}", "EPSG:32633", *points)
    ramp = -15 + (np.reshape(east, (120, 120)) - origin[0]) / 100
    other = -15 + (np.reshape(north, (120, 120)) - origin[1]) / 100
    s1 = np.stack([ramp, other]).astype(np.float32)
    path = write("s1.tif", s1, transform=transform, crs=f"EPSG:{epsg}")
    s2 = Image(write("s2.tif", digital(2, size, size)))
    stored = whole({"s1": Image(path), "s2": s2})["s1"] / 100
    steps = (np.arange(size) + 0.5) * 10 / 100
    # GDAL's warper is exact to an eighth of a pixel: 2.5 m, or 0.025 here
    np.testing.assert_allclose(stored[0], np.tile(-15 + steps, (size, 1)), atol=0.03)
    np.testing.assert_allclose(stored[1], np.tile(-15 - steps[:, None], (1, size)), atol=0.03)


def test_warped_image_ends(write: WriteImage) -> None:
    s1 = Image(write("s1.tif", decibel(2, 10, 10), transform=PLACE @ Affine.scale(2)))
    s2 = Image(write("s2.tif", digital(2, 40, 40)))
    void = (whole({"s1": s1, "s2": s2})["s1"] == -32768).all(0)
    assert not void[:20, :20].any()
    assert void[22:].all()
    assert void[:, 22:].all()


@pytest.mark.parametrize(("size", "fits"), [(20, True), (10, False)])
def test_image_without_georeference(
    write: WriteImage, tmp_path: Path, size: int, fits: bool
) -> None:
    s1 = str(write_raster(tmp_path / "s1.tif", decibel(2, size, size)))
    s2 = write("s2.tif", digital(2, 20, 20))
    images: dict[Sensor, Image] = {"s1": Image(s1), "s2": Image(s2)}
    if fits:
        assert whole(images)["s1"].shape == (2, 20, 20)
    else:
        with pytest.raises(UserError, match=r"s1.tif has 10 x 10 pixels, the scene 20 x 20"):
            whole(images)


def test_scale_of_a_warped_band(write: WriteImage) -> None:
    spec = InputSpec(Modality(("b", "a"), "reflectance", (0, 1)), (0.1, 0.1), (0.1, 0.1), 16)
    coarse = write("a.tif", np.full((1, 20, 20), 1200, np.uint16), scales=(1e-4,))
    write("b.tif", np.full((1, 40, 40), 2400, np.uint16), scales=(1e-4,),
          transform=PLACE @ Affine.scale(0.5))  # fmt: skip
    images: dict[Sensor, Image] = {"s2": Image(coarse.replace("a.tif", "{band}.tif"))}
    with open_scene(images, {"s2": spec}, resolution="scene") as scene:
        stored = scene.read(Tile(0, 0, 8, 8))["s2"]
    assert [np.unique(band).tolist() for band in stored] == [[2400], [1200]]


REFUSED: list[tuple[Sensor, NDArray[Any], dict[str, Any], str]] = [
    ("s2", digital(3, 20, 20), {}, "has 3 bands, expected 2: B02, B03"),
    ("s2", digital(2, 20, 20), {"bands": ("B02",)}, "has 2 bands, expected 1: B02"),
    ("s2", digital(2, 20, 20), {"bands": ("B02", "B04")}, "has no band B03"),
    ("s2", digital(2, 20, 20), {"units": "dB"}, "expect DN, but the data are dB"),
    ("s2", digital(2, 20, 20), {"units": "reflectance"}, "values in reflectance .* looks like DN"),
    ("s2", (digital(2, 20, 20) / 1e4).astype(np.float32), {}, "looks like reflectance"),
    ("s1", 10 ** (decibel(2, 20, 20) / 10), {}, "looks like linear power"),
    ("s1", decibel(2, 20, 20) + 9, {"units": "linear"}, "looks like dB"),
    ("s1", decibel(2, 20, 20) * np.nan, {}, "no data on the scene's grid"),
    ("s2", digital(2, 20, 20) * 0, {}, "no data on the scene's grid"),
]


@pytest.mark.parametrize(("sensor", "bands", "options", "message"), REFUSED)
def test_unfit_image_is_refused(
    write: WriteImage, sensor: Sensor, bands: NDArray[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"image.tif:? .*{message}"):
        whole({sensor: Image(write("image.tif", bands), **options)})


def test_refusal_names_the_options(write: WriteImage) -> None:
    odd = Image(write("image.tif", np.full((2, 20, 20), 2, np.uint16)))
    with pytest.raises(UserError, match=r"by --s2-units.* pass --no-scale-check$"):
        whole({"s2": odd})
    assert np.unique(whole({"s2": odd}, check_scale=False)["s2"]).tolist() == [2]


def test_data_between_sampled_windows(write: WriteImage) -> None:
    bands = np.zeros((2, 1200, 1200), np.uint16)
    bands[:, 700:760, 330:345] = 1000
    path = write("image.tif", bands, nodata=0)
    assert (whole({"s2": Image(path)})["s2"] != 65535).sum() == 2 * 60 * 15


def test_truncated_file(write: WriteImage) -> None:
    path = Path(write("image.tif", digital(2, 200, 200)))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"image.tif"):
        whole({"s2": Image(str(path))})


@pytest.mark.parametrize("kind", ["fill", "header", "impossible", "user", "mask", "south-up"])
def test_missing_pixels_agree(write: WriteImage, kind: str) -> None:
    """Training, audit, map and embedding call the same pixels of one file missing."""
    bands, void = digital(2, 32, 32), np.zeros((32, 32), bool)
    void[4:14, 7:30] = True
    value = {"header": 77, "impossible": 65535, "user": 4444}.get(kind, 0)
    bands[:, void] = value
    options: dict[str, object] = {"nodata": 77} if kind == "header" else {}
    files = Declared(nodata=(4444.0,)) if kind == "user" else Declared()
    shown = bands
    if kind == "south-up":
        options["transform"] = PLACE @ Affine(1, 0, 0, 0, -1, 32)
        shown = bands[:, ::-1]
    if kind == "mask":
        shown = np.where(void, 900, bands).astype(np.uint16)
    path = write("a.tif", shown, **options)
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
            raster.write_mask(~void)
    raster = read_raster(path, S2.modality, files)
    stored, missing = encode_pixels(S2.modality, raster.values)
    np.testing.assert_array_equal(missing, void)
    (finding,) = audit_sensor("a", "s2", S2.modality, raster.values, missing, raster.missing.pixels)
    assert f"{void.mean():.1%}" in finding.message
    with open_scene({"s2": Image(path, files=files)}, {"s2": S2}) as scene:
        tile = Tile(0, 0, 32, 32)
        mapped = scene.read(tile)["s2"]
        np.testing.assert_array_equal(scene.has_data({"s2": mapped}), ~void)
        np.testing.assert_array_equal(mapped, stored)
        windows = read_windows(scene, 1, [tile])
        np.testing.assert_array_equal(windows.valid[0] > 0, ~void)


@pytest.mark.parametrize(
    ("metres", "fits"), [(0.5, False), (5, False), (8, True), (13, True), (20, False), (60, False)]
)
def test_pixels_of_another_size(write: WriteImage, metres: float, fits: bool) -> None:
    grid = PLACE @ Affine.scale(metres / 10)
    image: dict[Sensor, Image] = {"s2": Image(write("a.tif", digital(2, 60, 60), transform=grid))}
    inputs: dict[Sensor, InputSpec] = {"s2": S2}
    if fits:
        with open_scene(image, inputs) as scene:
            assert scene.grid.transform == grid
        return
    with (
        pytest.raises(UserError, match=f"pixels of {metres:g} m, .* 10 m"),
        open_scene(image, inputs),
    ):
        pass
    with open_scene(image, inputs, resolution="scene") as scene:
        assert scene.grid.transform == grid
    with open_scene(image, inputs, check_scale=False, resolution="model") as scene:
        assert scene.grid.metres == pytest.approx(10)
        assert scene.grid.width == max(1, round(6 * metres))


@pytest.mark.parametrize("offset", [-1000.0, 0.0])
def test_offset_by_content_is_asked(write: WriteImage, offset: float) -> None:
    bands = digital(2, 20, 20)
    path = write("new.tif", bands + np.uint16(1000))
    with pytest.raises(UserError, match=r"baseline 04.00.*--s2-offset -1000"):
        whole({"s2": Image(path)})
    stored = whole({"s2": Image(path, files=Declared(offset=offset))})["s2"]
    np.testing.assert_array_equal(stored, bands + np.float64(1000 + offset))


def test_reflectance_for_digital_numbers(write: WriteImage) -> None:
    bands = digital(2, 20, 20)
    image = Image(write("r.tif", (bands / 1e4).astype(np.float32)), units="reflectance")
    np.testing.assert_array_equal(whole({"s2": image})["s2"], bands)
