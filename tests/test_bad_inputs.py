"""What people hand in by mistake, through the stages' own functions.

What a reader, a rule or an archive refuses by itself is tested beside it.
"""

import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from shipped import PARAMS

from eocontrast.config.params import load_params
from eocontrast.config.sources import SourceName, SourcesParams
from eocontrast.normalisation.build import build_store
from eocontrast.rasters.source import read_source
from eocontrast.runtime.errors import UserError
from eocontrast.sources.catalogue import fetch_source

WriteSource = Callable[..., Path]

SPLITS = ["pretrain"] * 3 + ["train"] * 6 + ["test"] * 3


def normalise(raw: Path, max_bad_fraction: float = 0) -> list[dict[str, str]]:
    """The findings of the audit."""
    out = raw.parent
    build_store(
        raw,
        out / "store",
        out / "audit.json",
        seed=0,
        test_fraction=0.3,
        shard_mib=1,
        max_bad_fraction=max_bad_fraction,
        check_shift=False,
        workers=1,
    )
    found: list[dict[str, str]] = json.loads((out / "audit.json").read_text())["findings"]
    return found


# --- one raster of twelve cannot be used


def rewrite(path: Path, change: Callable[[NDArray[Any]], NDArray[Any]], **profile: object) -> None:
    """The raster with other values, or of another form."""
    with rasterio.open(path) as raster:
        values, kept = change(raster.read()), raster.profile
    form = {"count": values.shape[0], "dtype": values.dtype, **profile}
    with rasterio.open(path, "w", **{**kept, **form}) as raster:
        raster.write(values)


def names_another_file(path: Path) -> None:
    path.write_text(
        '<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1">'
        "<SimpleSource><SourceFilename>/etc/hostname</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )


def is_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_bands(path: Path) -> None:
    with rasterio.open(path, "r+") as raster:
        raster.descriptions = ("B8", "red", "b05", "B06_20m")


UNUSABLE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty file": ("s2", lambda p: p.write_bytes(b""), r"s2/4\.tif cannot be read.*fetch it again"),
    "vrt": ("s2", names_another_file, r"s2/4\.tif cannot be read as GTiff.*convert"),
    "folder": ("s1", is_a_folder, r"s1/4\.tif holds no file of VV, VH; expected a raster"),
    "other bands": ("s2", other_bands, r"has no band B02, B03; it has B08, B04, B05, B06"),
    "one band too few": ("s2", lambda p: rewrite(p, lambda v: v[:3]), r"3 bands, expected 4"),
    "complex": (
        "s1",
        lambda p: rewrite(p, lambda v: v.astype(np.complex64)),
        r"s1/4\.tif: complex values.*convert it",
    ),
    "all black": ("s2", lambda p: rewrite(p, lambda v: v * 0), "s2 holds no data.*take the patch"),
    "all infinite": ("s1", lambda p: rewrite(p, lambda v: v - np.inf), "s1 holds no data"),
    "all declared as no data": (
        "s1",
        lambda p: rewrite(p, lambda v: v * 0 - 9999, nodata=-9999),
        "s1 holds no data",
    ),
    "mask of fractions": (
        "label",
        lambda p: rewrite(p, lambda v: v + np.float32(0.5)),
        r"label/4\.tif: a mask holds whole class values, found 3\.5; write integers",
    ),
    "mask that is a picture": (
        "label",
        lambda p: rewrite(p, lambda v: v[[0, 0, 0]], driver="PNG"),
        r"label/4\.tif holds a colour picture, expected class values",
    ),
    "mask that is a JPEG": (
        "label",
        lambda p: rewrite(p, lambda v: v, driver="JPEG"),
        r"label/4\.tif: its JPEG compression changes class values; .* PNG",
    ),
}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("kind", "damage", "said"), UNUSABLE.values(), ids=list(UNUSABLE))
def test_a_raster_that_cannot_be_used_is_told_in_one_line(
    write_source: WriteSource, kind: str, damage: Callable[[Path], object], said: str
) -> None:
    raw = write_source(splits=SPLITS, masks=True)
    damage(raw / kind / "4.tif")
    with pytest.raises(UserError, match=rf"1 of 12 patches .*p004: .*{said}") as caught:
        normalise(raw)
    assert "\n" not in str(caught.value)
    errors = [f["id"] for f in normalise(raw, max_bad_fraction=0.1) if f["severity"] == "error"]
    assert errors == ["p004"]


# --- one raster of twelve is doubtful


def some_nan(values: NDArray[Any]) -> NDArray[Any]:
    values[:, :4] = np.nan
    return values


def flat(values: NDArray[Any]) -> NDArray[Any]:
    values[2] = 700
    return values


DOUBTFUL: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]], str, str]] = {
    "linear given as dB": (
        "s1",
        lambda v: 10 ** (v / 10),
        "implausible_units",
        "looks like linear",
    ),
    "dB times 100": ("s1", lambda v: v * 100, "implausible_units", r"s1 .*scaled"),
    "undeclared value for no data": (
        "s1",
        lambda v: np.where(v < -16, np.float32(-9999), v),
        "some_nodata",
        "a value that no sensor gives",
    ),
    "whole decibels": ("s1", lambda v: v.round(), "implausible_dtype", r"rounded, or DN\?"),
    "reflectance given as DN": (
        "s2",
        lambda v: (v / 10000).astype(np.float32),
        "implausible_units",
        "looks like reflectance",
    ),
    "negative DN": ("s2", lambda v: v.astype(np.int16) - 1700, "implausible_units", "stored as 0"),
    "fractions of DN": (
        "s2",
        lambda v: v + np.float32(0.25),
        "implausible_dtype",
        "no band holds whole numbers",
    ),
    "saturated": ("s2", lambda v: v * 0 + 20000 + v, "saturated", r"s2 lies outside of 0\.\.10000"),
    "constant band": ("s2", flat, "constant_band", "s2 holds a single value in B04"),
    "NaN in some pixels": ("s1", some_nan, "some_nodata", r"s1 has no data in 25\.0% .*masked"),
}


@pytest.mark.parametrize(("kind", "change", "rule", "said"), DOUBTFUL.values(), ids=list(DOUBTFUL))
def test_a_doubtful_raster_is_kept_and_listed(
    write_source: WriteSource,
    kind: str,
    change: Callable[[NDArray[Any]], NDArray[Any]],
    rule: str,
    said: str,
) -> None:
    raw = write_source(splits=SPLITS)
    rewrite(raw / kind / "4.tif", change)
    found = normalise(raw)
    assert {finding["id"] for finding in found} == {"p004"}
    (finding,) = [finding for finding in found if finding["rule"] == rule]
    assert finding["severity"] == "warning"
    assert re.search(said, finding["message"])


# --- what `download` left was edited


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("source.json", '{"s1": ', r"raw is damaged: .*dvc repro -f download"),
        ("manifest.csv", "", r"raw is damaged: .*dvc repro -f download"),
        ("manifest.csv", "id,s1,s2\na,b,c\n", r"raw is damaged: .*dvc repro -f download"),
        ("manifest.csv", 'id,s1\n"a,b\n', r"raw is damaged: .*dvc repro -f download"),
    ],
)
def test_a_damaged_description_says_what_to_run(
    write_source: WriteSource, name: str, text: str, said: str
) -> None:
    raw = write_source()
    (raw / name).write_text(text)
    with pytest.raises(UserError, match=said):
        normalise(raw)


def test_a_source_without_pairs_says_what_to_run(write_source: WriteSource) -> None:
    raw = write_source()
    source = read_source(raw)
    replace(source, manifest=source.manifest[:0]).write(raw)
    with pytest.raises(UserError, match=r"manifest\.csv has no rows: run `dvc repro"):
        normalise(raw)


# --- what `download` is told


@pytest.fixture(scope="module")
def committed() -> SourcesParams:
    return load_params(PARAMS).sources


def unsafe_archive(folder: Path) -> dict[str, Any]:
    with tarfile.open(folder / "mine.tar", "w") as archive:
        link = tarfile.TarInfo("ROIs1158_spring")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    return {"path": folder / "mine.tar"}


def text_for_archive(folder: Path) -> dict[str, Any]:
    (folder / "mine.tar.gz").write_text("<html>404</html>")
    return {"path": folder / "mine.tar.gz"}


def binary_md5s(folder: Path) -> dict[str, Any]:
    (folder / "sums").write_bytes(b"\xff\xfe\x00")
    return {"path": None, "md5s": folder / "sums"}


def flat_folder(folder: Path) -> dict[str, Any]:
    (folder / "ROIs1158_spring_s1_1_p1.tif").touch()
    return {"path": folder}


WRONG_PLACES: dict[str, tuple[SourceName, Callable[[Path], dict[str, Any]], str]] = {
    "archive with a link": ("sen12ms", unsafe_archive, r"mine\.tar is not safe.*its publisher"),
    "text for an archive": (
        "sen12ms",
        text_for_archive,
        r"mine\.tar\.gz cannot be unpacked.*again",
    ),
    "no such folder": (
        "sen12ms",
        lambda f: {"path": f / "none"},
        r"sen12ms\.path .*/none, which does not exist",
    ),
    "flat folder": (
        "sen12ms",
        flat_folder,
        r"looked for .*s1_<scene>.*found in .*_p1\.tif; sources",
    ),
    "md5s of bytes": ("sen12ms", binary_md5s, r"sums cannot be read .*the output of md5sum"),
    "no md5s": (
        "dfc2020",
        lambda f: {"path": None, "md5s": f / "none"},
        r"dfc2020\.md5s .*/none, which does not exist",
    ),
    "no list": (
        "dfc2020",
        lambda f: {"splits": {"train": f / "none"}},
        r"dfc2020\.splits .*/none, which does not exist",
    ),
    "no metadata": ("bigearthnet", lambda f: {"path": f}, r"metadata\.parquet.* is missing"),
}


@pytest.mark.parametrize(("name", "make", "said"), WRONG_PLACES.values(), ids=list(WRONG_PLACES))
def test_a_place_that_holds_something_else_is_told(
    committed: SourcesParams,
    tmp_path: Path,
    name: SourceName,
    make: Callable[[Path], dict[str, Any]],
    said: str,
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    told = getattr(committed, name).model_copy(update=make(own))
    params = committed.model_copy(update={name: told})
    with pytest.raises(UserError, match=said) as caught:
        fetch_source(name, tmp_path / "raw", tmp_path / "manifests", params)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "manifests").exists()
