from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform as to_crs

from eocontrast.mapping.images import Image
from eocontrast.mapping.scenes import open_scene
from eocontrast.mapping.tiles import Tile
from eocontrast.modalities import Modality, Sensor
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

S1 = InputSpec(Modality(("VV", "VH"), "dB", (-40, 10)), (-10, -17), (4, 4), 16)
S2 = InputSpec(Modality(("B02", "B03"), "DN", (0, 10000)), (1000, 1000), (300, 300), 16)
INPUTS: dict[Sensor, InputSpec] = {"s1": S1, "s2": S2}
PLACE = Affine(10, 0, 600000, 0, -10, 5300000)

WriteImage = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> WriteImage:
    def write_image(name: str, bands: NDArray[Any], **options: Any) -> str:  # noqa: ANN401
        profile = {"crs": "EPSG:32633", "transform": PLACE, **options}
        described = profile.pop("descriptions", None)
        scales = profile.pop("scales", None)
        shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
        path = tmp_path / name
        with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, **shape, **profile) as out:
            out.write(bands)
            out.descriptions = described or [None] * len(bands)
            if scales:
                out.scales = scales
        return str(path)

    return write_image


def digital(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(300, 4000, shape).astype(np.uint16)


def decibel(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(-15, 3, shape).astype(np.float32)


def whole(images: dict[Sensor, Image], **options: bool) -> dict[Sensor, NDArray[np.integer]]:
    inputs = {sensor: spec for sensor, spec in INPUTS.items() if sensor in images}
    with open_scene(images, inputs, **options) as scene:
        return scene.read(Tile(0, 0, scene.grid.height, scene.grid.width))


def test_windows_are_parts_of_the_scene_and_void_beyond_it(write: WriteImage) -> None:
    s1, s2 = decibel(2, 50, 70), digital(2, 50, 70)
    s2[:, 40:, 60:] = 0
    images: dict[Sensor, Image] = {
        "s1": Image(write("s1.tif", s1)),
        "s2": Image(write("s2.tif", s2, nodata=0)),
    }
    with open_scene(images, INPUTS) as scene:
        assert scene.grid.crs == CRS.from_epsg(32633)
        assert scene.grid.transform == PLACE
        found = scene.read(Tile(30, 48, 32, 32))
        valid = scene.has_data(found)
    np.testing.assert_array_equal(found["s1"][:, :20, :22], np.rint(s1[:, 30:, 48:] * 100))
    np.testing.assert_array_equal(found["s2"][:, :10, :12], s2[:, 30:40, 48:60])
    expected = np.zeros((32, 32), dtype=bool)
    expected[:20, :22] = True
    expected[10:, 12:] = False
    np.testing.assert_array_equal(valid, expected)
    assert (found["s2"][:, ~expected] == 65535).all()


def test_a_sensor_without_an_image_has_no_data_and_takes_none_away(write: WriteImage) -> None:
    with open_scene({"s2": Image(write("s2.tif", digital(2, 20, 20)))}, INPUTS) as scene:
        found = scene.read(Tile(0, 0, 20, 20))
        assert (found["s1"] == -32768).all()
        assert scene.has_data(found).all()


def test_bands_are_found_by_name_and_others_left_out(write: WriteImage) -> None:
    bands = digital(3, 20, 20)
    described = write("described.tif", bands, descriptions=("B03", "B99", "B02"))
    plain = write("plain.tif", bands)
    for image in (Image(described), Image(plain, ("B03", "B99", "B02"))):
        np.testing.assert_array_equal(whole({"s2": image})["s2"], bands[[2, 0]])
    ordered = write("ordered.tif", bands[:2])
    np.testing.assert_array_equal(whole({"s2": Image(ordered)})["s2"], bands[:2])


@pytest.mark.parametrize("nodata", [None, 0, 700])
def test_numbers_mean_the_same_in_files_of_any_type(write: WriteImage, nodata: int | None) -> None:
    """Those beyond the store's range are brought to its end, which is not what stands for none."""
    bands = digital(2, 20, 20).astype(np.int32)
    bands[0, 3, :4] = 700, 0, -5, 65535
    expected = np.where(bands == nodata, 65535, bands.clip(0, 65534))
    for dtype in ("int32", "float32", "float64"):
        path = write(f"{dtype}.tif", bands.astype(dtype), nodata=nodata)
        np.testing.assert_array_equal(whole({"s2": Image(path)})["s2"], expected)
    path = write("uint16.tif", bands.clip(0).astype(np.uint16), nodata=nodata)
    expected = np.where(bands.clip(0) == nodata, 65535, expected)
    np.testing.assert_array_equal(whole({"s2": Image(path)})["s2"], expected)


def test_a_band_that_lacks_is_no_data_where_the_user_says_so(write: WriteImage) -> None:
    one = digital(1, 20, 20)
    named = write("named.tif", one, descriptions=("B03",))
    plain = write("plain.tif", one)
    pattern = write("y_B03.tif", one).replace("B03", "{band}")
    for path in (named, plain, pattern):
        found = whole({"s2": Image(path, filled=("B02", "B10"))})["s2"]
        np.testing.assert_array_equal(found[1], one[0])
        assert (found[0] == 65535).all()
    both = write("both.tif", digital(2, 20, 20))  # a band that is there is not thrown away
    assert (whole({"s2": Image(both, ("B02", "B03"), filled=("B02",))})["s2"] < 65535).all()
    with pytest.raises(UserError, match=r"lack B02; .* in its place \(--fill-bands\)"):
        whole({"s2": Image(named)})
    with pytest.raises(UserError, match="--fill-bands names every band that is expected"):
        whole({"s2": Image(write("none.tif", one, descriptions=("B9",)), filled=("B02", "B03"))})


def test_one_file_a_band_on_the_finest_grid(write: WriteImage) -> None:
    """A ramp of 20 m pixels is the ramp of 10 m pixels away from the edge."""
    fine = digital(1, 40, 40)
    north, east = np.mgrid[10:400:20, 10:400:20]
    ramp = (500 + 2 * east + north).astype(np.uint16)[None]
    write("x_B02.tif", fine)
    pattern = write("x_B03.tif", ramp, transform=PLACE @ Affine.scale(2)).replace("B03", "{band}")
    found = whole({"s2": Image(pattern)})["s2"]
    np.testing.assert_array_equal(found[0], fine[0])
    north, east = np.mgrid[5:400:10, 5:400:10]
    np.testing.assert_allclose(found[1, 2:-2, 2:-2], (500 + 2 * east + north)[2:-2, 2:-2], atol=1)


@pytest.mark.parametrize("epsg", [32633, 32632, 4326])
def test_sentinel1_of_another_grid_lies_where_it_belongs(write: WriteImage, epsg: int) -> None:
    """A ramp of ground coordinates: after warping each pixel shows its own place."""
    size, origin = 60, (PLACE.c, PLACE.f)
    xs, ys = to_crs("EPSG:32633", f"EPSG:{epsg}", [origin[0] + 300], [origin[1] - 300])
    pixel = 20.0 if epsg != 4326 else 20 / 111_000
    place = Affine(pixel, 0, xs[0] - 60 * pixel, 0, -pixel, ys[0] + 60 * pixel)
    rows, cols = np.mgrid[0:120, 0:120] + 0.5
    east, north = to_crs(f"EPSG:{epsg}", "EPSG:32633", *(a.ravel() for a in place @ (cols, rows)))
    ramp = -15 + (np.reshape(east, (120, 120)) - origin[0]) / 100
    other = -15 + (np.reshape(north, (120, 120)) - origin[1]) / 100
    s1 = np.stack([ramp, other]).astype(np.float32)
    path = write("s1.tif", s1, transform=place, crs=f"EPSG:{epsg}")
    s2 = Image(write("s2.tif", digital(2, size, size)))
    found = whole({"s1": Image(path), "s2": s2})["s1"] / 100
    steps = (np.arange(size) + 0.5) * 10 / 100
    # an eighth of a pixel is what GDAL's warper allows itself, 2.5 m or 0.025 here
    np.testing.assert_allclose(found[0], np.tile(-15 + steps, (size, 1)), atol=0.03)
    np.testing.assert_allclose(found[1], np.tile(-15 - steps[:, None], (1, size)), atol=0.03)


def test_where_a_warped_image_ends_there_is_no_data(write: WriteImage) -> None:
    s1 = Image(write("s1.tif", decibel(2, 10, 10), transform=PLACE @ Affine.scale(2)))
    s2 = Image(write("s2.tif", digital(2, 40, 40)))
    found = whole({"s1": s1, "s2": s2})["s1"]
    void = (found == -32768).all(0)
    assert not void[:20, :20].any()
    assert void[22:].all()
    assert void[:, 22:].all()


@pytest.mark.parametrize(("size", "fits"), [(20, True), (10, False)])
def test_without_a_place_sizes_must_agree(write: WriteImage, size: int, fits: bool) -> None:
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = write("s1.tif", decibel(2, size, size), crs=None, transform=Affine.identity())
    images: dict[Sensor, Image] = {
        "s1": Image(path),
        "s2": Image(write("s2.tif", digital(2, 20, 20))),
    }
    if fits:
        assert whole(images)["s1"].shape == (2, 20, 20)
    else:
        with pytest.raises(UserError, match=r"s1.tif has 10 x 10 pixels, the scene 20 x 20"):
            whole(images)


@pytest.mark.parametrize("warped", [False, True])
def test_a_declared_scale_holds_unless_units_are_digital_numbers(
    write: WriteImage, warped: bool
) -> None:
    spec = InputSpec(Modality(("A",), "reflectance", (0, 1)), (0.1,), (0.1,), 16)
    stored = np.full((1, 20, 20), 1200, np.uint16)
    path = write("a.tif", stored, scales=(1e-4,))
    pattern = str(Path(path).with_name("{band}.tif"))
    fine = write("b.tif", np.full((1, 40, 40), 2400, np.uint16), scales=(1e-4,),
                 transform=PLACE @ Affine.scale(0.5))  # fmt: skip
    assert Path(fine).exists()
    if warped:
        pair = Modality(("b", "a"), "reflectance", (0, 1))
        spec = InputSpec(pair, (0.1, 0.1), (0.1, 0.1), 16)
        path = pattern
    with open_scene({"s2": Image(path)}, {"s2": spec}) as scene:
        found = scene.read(Tile(0, 0, 8, 8))["s2"]
    assert np.unique(found[-1]).tolist() == [1200]


REFUSED: list[tuple[str, NDArray[Any], dict[str, Any], str]] = [
    ("s2", digital(3, 20, 20), {}, r"3 band\(s\) without names, expected 2: B02, B03"),
    ("s2", digital(2, 20, 20), {"bands": ("B02",)}, "2 band.s., but 1 are named"),
    ("s2", digital(2, 20, 20), {"bands": ("B02", "B04")}, "lack B03"),
    ("s2", digital(2, 20, 20), {"units": "dB"}, "expect DN, but the data are dB"),
    ("s2", digital(2, 20, 20), {"units": "reflectance"}, "expect DN, but the data are refl"),
    ("s2", (digital(2, 20, 20) / 1e4).astype(np.float32), {}, "looks like reflectance"),
    ("s1", 10 ** (decibel(2, 20, 20) / 10), {}, "looks like linear power"),
    ("s1", decibel(2, 20, 20) + 9, {"units": "linear"}, "looks like dB"),
    ("s1", decibel(2, 20, 20) * np.nan, {}, "no data on the scene's grid"),
    ("s1", decibel(2, 20, 20).astype(np.complex64), {}, "complex"),
]


@pytest.mark.parametrize(("sensor", "bands", "said", "says"), REFUSED)
def test_what_does_not_suit_the_weights_is_refused(
    write: WriteImage, sensor: Sensor, bands: NDArray[Any], said: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=rf"image.tif: .*{says}"):
        whole({sensor: Image(write("image.tif", bands), **said)})


def test_the_way_out_of_a_refusal_is_an_option(write: WriteImage) -> None:
    odd = Image(write("image.tif", np.full((2, 20, 20), 2, np.uint16)))
    with pytest.raises(UserError, match=r"by --s2-units.* pass --no-scale-check$"):
        whole({"s2": odd})
    assert np.unique(whole({"s2": odd}, check_scale=False)["s2"]).tolist() == [2]


def test_data_that_the_sample_misses_are_found(write: WriteImage) -> None:
    bands = np.zeros((2, 1200, 1200), np.uint16)
    bands[:, 700:760, 330:345] = 1000  # between the windows
    path = write("image.tif", bands, nodata=0)
    assert (whole({"s2": Image(path)})["s2"] != 65535).sum() == 2 * 60 * 15


def test_a_truncated_file_is_no_scene(write: WriteImage) -> None:
    path = Path(write("image.tif", digital(2, 200, 200)))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"image.tif"):
        whole({"s2": Image(str(path))})
