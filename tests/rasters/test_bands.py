"""Bands by name; `test_read.py` covers messages for other numbers of bands."""

from pathlib import Path

import numpy as np
import pytest
from raster_files import write_raster
from rasterio.enums import ColorInterp

from eocontrast.modalities import Modality
from eocontrast.rasters.band_names import standard_name, standard_names
from eocontrast.rasters.image import open_image
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import read_raster

FOUR = ("B02", "B03", "B04", "B08")
RADAR = ("VV", "VH")
ORBITS = ("VV_asc", "VH_asc", "VV_desc", "VH_desc")
YEARS = ("2020_B02", "2020_B03", "2021_B02", "2021_B03")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B2", "B02"), ("b8a", "B8A"), ("B11_20m", "B11"), ("rededge3", "B07"), ("nir08", "B8A"),
        ("swir22", "B12"), ("B4, central wavelength 665 nm", "B04"), ("coastal", "B01"),
        ("Red Edge 1", "B05"), ("rededge075", "B06"), ("nir_narrow", "B8A"), ("SWIR 1", "B11"),
        ("Sentinel-2 B04", "B04"), ("S2A_B8A", "B8A"), ("water vapour", "B09"),
        ("Sigma0_VV_slv1_12Mar2020", "VV"), ("S1A_IW_20200101T051234_VH", "VH"),
        ("Gamma0_VV_db", "VV"), ("vh", "VH"), ("Sigma0_VH", "VH"), ("Intensity_VV", "VV"),
        ("B4_median", "B04"), ("0_B3", "B03"), ("T33TVN_20230520T101601_B02_10m", "B02"),
        ("mean_B8A", "B8A"), ("B11_p50", "B11"), ("Blue (B2)", "B02"), ("SWIR1 (B11)", "B11"),
        ("S2_SR_B4", "B04"), ("665 nm", "B04"), ("842nm", "B08"), ("VV (dB)", "VV"),
        ("VVdB", "VV"), ("S1_VH_descending", "VH"), ("VV_filtered", "VV"),
        ("rhos_665", "B04"), ("Rrs_490", "B02"), ("865.0", "B8A"), (".5598 Micrometers", "B03"),
        ("NIR_BROAD", "B08"), ("0.665", "B04"), ("2.19", "B12"), ("1", None), ("2", None),
        ("832.8 Nanometers", "B08"), ("B4 (664.6 Nanometers)", "B04"), ("Red, 665 nm", "B04"),
        ("S2L2A:B11", "B11"), ("FRE_B8A", "B8A"), ("red_mean_2023", "B04"), ("B4:red", "B04"),
        ("B03_sharpened", "B03"), ("Sigma0_IW2_VH_db", "VH"), ("co-pol VV", "VV"),
        ("S1B_IW_GRDH_1SDV_20200101T051234_20200101T051259_030610_0381B6_ABCD_VH", "VH"),
        ("B4_B3", None), ("SR_B5", None), ("B4:nir", None), ("1000.0", None),
        ("Coherence_VV", None),
        ("NDVI_B8", None), ("700 nm", None), ("B02_mask", None),
        ("Band 2", None), ("bands", None), ("B13", None), ("VV_VH_ratio", None), ("QA60", None),
    ],
)  # fmt: skip
def test_standard_names(text: str, name: str | None) -> None:
    assert standard_name(text) == name


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (("R", "G", "B"), ["B04", "B03", "B02"]),
        (("n", "r", "g", "b"), ["B08", "B04", "B03", "B02"]),
        (("A", "B"), [None, None]),
        (("R", "G", "B", "X"), [None] * 4),
    ],
)
def test_letters_are_names_together(texts: tuple[str, ...], names: list[str | None]) -> None:
    assert standard_names(texts) == names


def numbered(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    return np.arange(100, 100 + 100 * count, 100, dtype=np.uint16)[:, None, None] * np.ones(
        (1, 4, 4), np.uint16
    )


@pytest.mark.parametrize(
    ("described", "bands", "expected"),
    [
        (("B4", "B3", "B2", "B8"), FOUR, (300, 200, 100, 400)),
        (("nir", "red", "green", "blue"), FOUR, (400, 300, 200, 100)),
        (("B08_10m", "B02_10m", "B03_10m", "B04_10m"), FOUR, (200, 300, 400, 100)),
        (("SCL", "blue", "AOT", "red", "green", "nir", "QA60"), FOUR, (200, 500, 400, 600)),
        (("vh", "vv"), RADAR, (200, 100)),
        (("Gamma0_VH", "Gamma0_VV"), RADAR, (200, 100)),
        (("angle", "Sigma0_VH_db", "Sigma0_VV_db"), RADAR, (300, 200)),
        (("bands", "bands"), RADAR, (100, 200)),
        (("B8_median", "B4_median", "B3_median", "B2_median"), FOUR, (400, 300, 200, 100)),
        (("665 nm", "560 nm", "490 nm", "842 nm"), FOUR, (300, 200, 100, 400)),
        (("2_VH_asc", "2_VV_asc"), RADAR, (200, 100)),
        (("VV_desc", "VH_desc", "VV_asc", "VH_asc"), ORBITS, (300, 400, 100, 200)),
        (("2021_B02", "2021_B03", "2020_B02", "2020_B03"), YEARS, (300, 400, 100, 200)),
    ],
)
def test_descriptions_decide_the_order(
    tmp_path: Path, described: tuple[str, ...], bands: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(len(described)), descriptions=described)
    values = read_raster(path, Modality(bands, "DN", (0, 10000))).values
    assert tuple(values[:, 0, 0]) == expected


@pytest.mark.parametrize(
    ("described", "ordered"),
    [
        (("B4", "B3", "B2", "B8"), FOUR),
        (("red", "green", "blue", "nir"), FOUR),
        (("x", "B08", "y", "z"), FOUR),
        (("vh", "vv"), RADAR),
    ],
)
def test_contradictions_show_both_names(
    tmp_path: Path, described: tuple[str, ...], ordered: tuple[str, ...]
) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(len(described)), descriptions=described)
    message = f"bands as {', '.join(described)}, but they are declared as {', '.join(ordered)}"
    with pytest.raises(RasterError, match=message), open_image(path, ordered, "DN", ordered):
        pass


@pytest.mark.parametrize(
    ("described", "bands"),
    [
        (("sr_b4", "sr_b3", "sr_b2", "sr_b8"), FOUR),
        (("B2_wavelet", "B4_wavelet", "B3_wavelet", "B8_wavelet"), FOUR),
        (("Coherence_VH", "Coherence_VV"), RADAR),
    ],
)
def test_unknown_words_beside_other_bands(
    tmp_path: Path, described: tuple[str, ...], bands: tuple[str, ...]
) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(len(described)), descriptions=described)
    with pytest.raises(RasterError, match="but they are declared as"):
        read_raster(path, Modality(bands, "DN", (0, 10000)))
    # the user knows what the words mean
    with open_image(path, bands, "DN", bands) as image:
        assert image.read()[:, 0, 0].tolist() == [100, 200, 300, 400][: len(bands)]


@pytest.mark.parametrize("colours", [("red", "green", "blue"), ("blue", "red", "green")])
def test_visible_colours_decide_the_order(tmp_path: Path, colours: tuple[str, ...]) -> None:
    path = write_raster(
        tmp_path / "a.tif", numbered(3), colorinterp=[ColorInterp[colour] for colour in colours]
    )
    places = [100 * (1 + colours.index(colour)) for colour in ("blue", "green", "red")]
    bands = ("B02", "B03", "B04")
    assert read_raster(path, Modality(bands, "DN", (0, 10000))).values[:, 0, 0].tolist() == places
    # the user names the bands of this file in its own order
    with open_image(path, bands, "DN", bands) as image:
        assert image.read()[:, 0, 0].tolist() == [100, 200, 300]


def test_pictures_of_infrared_have_false_colours(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "a.tif", numbered(3),
        colorinterp=[ColorInterp.red, ColorInterp.green, ColorInterp.blue],
    )  # fmt: skip
    values = read_raster(path, Modality(("B08", "B04", "B03"), "DN", (0, 10000))).values
    assert values[:, 0, 0].tolist() == [100, 200, 300]


@pytest.mark.parametrize(
    ("described", "unknown"),
    [
        (("Rouge", "Vert", "Bleu", "PIR"), True),
        (("Band 4", "Band 3", "Band 2", "Band 8"), True),
        (("Band 1", "Band 2", "Band 3", "Band 4"), False),
        (("bands", "bands", "bands", "bands"), False),
        (("B2", "blau", "B3", "B4"), None),
        (("B2", "B3", "B4", "B8"), False),
    ],
)
def test_unknown_descriptions_are_reported(
    tmp_path: Path, described: tuple[str, ...], unknown: bool | None
) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(4), descriptions=described)
    modality = Modality(FOUR, "DN", (0, 10000))
    if unknown is None:
        with pytest.raises(RasterError, match="but they are declared as"):
            read_raster(path, modality)
        return
    raster = read_raster(path, modality)
    assert raster.unknown == (described if unknown else ())
    assert raster.values[:, 0, 0].tolist() == [100, 200, 300, 400]


@pytest.mark.parametrize(
    "described", [("Band 1", "Band 2"), ("reflectance", "reflectance"), ("bands", "bands")]
)
def test_noise_needs_the_users_word(tmp_path: Path, described: tuple[str, ...]) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(2), descriptions=described)
    with (
        pytest.raises(RasterError, match=r"a.tif describes its bands .* by --s1-bands"),
        open_image(path, RADAR, "dB"),
    ):
        pass
    with open_image(path, RADAR, "dB", RADAR) as image:
        assert image.read()[:, 0, 0].tolist() == [100, 200]


def test_bands_of_two_orbits_need_whole_names(tmp_path: Path) -> None:
    described = ("VV", "VH", "VV_1", "VH_1")
    path = write_raster(tmp_path / "a.tif", numbered(4), descriptions=described)
    raster = read_raster(path, Modality(ORBITS, "DN", (0, 10000)))
    assert raster.values[:, 0, 0].tolist() == [100, 200, 300, 400]
    assert raster.unknown == described


@pytest.mark.parametrize(
    "described",
    [
        ("VV", "localIncidenceAngle"),
        ("VV_stdDev", "VH_stdDev"),
        ("VV", "VV/VH"),
        ("coh_VV", "coh_VH"),
        ("Phase_VV", "Phase_VH"),
    ],
)
def test_other_quantities_are_refused(tmp_path: Path, described: tuple[str, str]) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(2), descriptions=described)
    with pytest.raises(RasterError, match=f"{described[1]}, but they are declared as VV, VH"):
        read_raster(path, Modality(RADAR, "DN", (0, 10000)))


@pytest.mark.parametrize(
    "names",
    [("B4", "B3", "B2", "B8"), ("red", "green", "blue", "nir"), ("b04", "b03", "b02", "b08")],
)
def test_users_may_write_aliases(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(4))
    for name, values in zip(names, numbered(4), strict=True):
        write_raster(tmp_path / f"x_{name}.tif", values[None])
    for source in (path, tmp_path / "x_{band}.tif"):
        with open_image(source, FOUR, "DN", ordered=names) as image:
            assert image.bands == FOUR
            assert image.read()[:, 0, 0].tolist() == [300, 200, 100, 400]


def test_aliases_of_one_band_are_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", numbered(4))
    names = ("B2", "blue", "B04", "B08")
    with (
        pytest.raises(RasterError, match="no band B02, B03; it has B2, blue, B04, B08"),
        open_image(path, FOUR, "DN", ordered=names),
    ):
        pass
