"""Rasters of archives that are damaged or gone, and how they come back."""

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from publishers import mirrored, seasons, stored
from servers import FtpServer

from eocontrast.runtime.errors import UserError
from eocontrast.sources import dfc2020, sen12ms


def truncated(raster: Path) -> None:
    raster.write_bytes(raster.read_bytes()[:-100])


def season_gone(raster: Path) -> None:
    shutil.rmtree(raster.parents[1])


@pytest.mark.parametrize("harm", [truncated, Path.unlink, season_gone])
def test_what_is_damaged_or_gone_is_fetched_again(
    server: FtpServer,
    published: Path,
    scenes: Path,
    tmp_path: Path,
    harm: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    params = seasons(server.url, published)
    rows = sen12ms.fetch(tmp_path, params).manifest
    harm(tmp_path / rows["s1"][1])
    logins = server.logins
    pd.testing.assert_frame_equal(sen12ms.fetch(tmp_path, params).manifest, rows)
    archives = 2 if harm is season_gone else 1
    assert server.logins == logins + archives
    assert capsys.readouterr().err.count("they are unpacked again") == archives
    for sensor in ("s1", "s2"):
        for path in rows[sensor]:
            assert (tmp_path / path).read_bytes() == (scenes / path).read_bytes()


def test_an_archive_that_stayed_is_unpacked_again(
    server: FtpServer, published: Path, tmp_path: Path
) -> None:
    params = seasons(server.url, published)
    rows = sen12ms.fetch(tmp_path, params, keep_archives=True).manifest
    (tmp_path / rows["s1"][0]).unlink()
    logins = server.logins
    sen12ms.fetch(tmp_path, params, keep_archives=True)
    assert (tmp_path / rows["s1"][0]).exists()
    assert server.logins == logins


def test_a_damaged_list_of_files_is_named_with_the_note_to_remove(
    server: FtpServer, published: Path, tmp_path: Path
) -> None:
    params = seasons(server.url, published)
    sen12ms.fetch(tmp_path, params)
    listed = tmp_path / "archives/ROIs1158_spring_s1.tar.gz.json"
    for content in (b"x", b"\xff\xff", listed.read_bytes()[:5]):
        listed.write_bytes(content)
        with pytest.raises(
            UserError, match=r"s1\.tar\.gz\.json is damaged.*remove .*s1\.tar\.gz\.md5"
        ):
            sen12ms.fetch(tmp_path, params)


def test_a_raster_that_cannot_be_read_is_told_with_how_to_have_it_again(
    server: FtpServer, published: Path, scenes: Path, tmp_path: Path
) -> None:
    """Its length is right: only who reads it sees the damage."""
    params, raw = seasons(server.url, published), tmp_path / "raw"
    source = replace(sen12ms.fetch(raw, params), rasters=raw)
    raster = raw / source.manifest["s1"][0]
    raster.write_bytes(bytes(raster.stat().st_size))
    source.write(tmp_path)
    with pytest.raises(UserError, match=r"_s1_1_p0\.tif cannot be read.*dvc repro -f download"):
        stored(tmp_path)
    raster.unlink()
    sen12ms.fetch(raw, params)
    stored(tmp_path)


def test_what_lacks_of_the_user_s_archive_comes_back_without_its_note(
    scenes: Path, tmp_path: Path
) -> None:
    mine, raw = tmp_path / "mine.tar", tmp_path / "raw"
    with tarfile.open(mine, "w") as packed:
        for half in dfc2020.HALVES:
            packed.add(scenes / f"ROIs0000_{half}", f"ROIs0000_{half}")
    rows = dfc2020.fetch(raw, mirrored(path=mine)).manifest
    for gone in (rows["s1"][0], "mine.tar/ROIs0000_test", "mine.tar/ROIs0000_*"):
        for path in raw.glob(gone):
            path.unlink() if path.is_file() else shutil.rmtree(path)
        with pytest.raises(UserError, match=r"remove .*raw/mine\.tar/archives/<archive>\.md5 to"):
            dfc2020.fetch(raw, mirrored(path=mine, find_overlaps=False))
        (raw / "mine.tar/archives/mine.tar.md5").unlink()
        pd.testing.assert_frame_equal(dfc2020.fetch(raw, mirrored(path=mine)).manifest, rows)
