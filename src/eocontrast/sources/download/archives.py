"""Unpack zip and tar archives: nothing leaves the folder, and only complete content is moved in."""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import zstandard
from tqdm import tqdm

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk

ZSTD = b"\x28\xb5\x2f\xfd"  # magic number of a zstd frame, RFC 8878

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, zstandard.ZstdError, lzma.LZMAError),
    *(struct.error, EOFError, OSError, ValueError, ArithmeticError),
    LookupError,  # zipfile, for a member without a name
    RuntimeError,  # zipfile, for encrypted members and unknown compression
)
"""Errors of damaged archives."""


def extract(archive: Path, patterns: Sequence[str], folder: Path) -> list[Path]:
    """Unpack the matching files of an archive into `folder`.

    Args:
        archive: .zip, .whl, or .tar with any compression.
        patterns: shell patterns of member names; `*` also matches `/`.
        folder: destination, created if missing.

    Raises:
        UserError: the archive is damaged or unsafe, a pattern matches nothing, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = (_extract_zip if zipfile.is_zipfile(archive) else _extract_tar)(
        archive, patterns, folder
    )
    try:
        names = list(
            tqdm(members, f"unpack {archive.name}", unit="file", leave=False, delay=1, disable=None)
        )
    except DAMAGE as error:
        reason = " ".join(str(error).split())  # tarfile prints a line per compression
        raise UserError(f"{archive} cannot be unpacked: {reason}; fetch it again") from error
    for pattern in patterns:
        if not _matches_any([pattern], names):
            raise UserError(
                f"{archive} has no member that matches {pattern}; check that it is the right file"
            )
    return [folder / name for name in names]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a whole archive; a killed run can be repeated.

    Files are unpacked beside their destination and renamed once all are complete. Existing folders
    are merged, since the archives of a season share their top folder.

    Args:
        archive: as in `extract`.
        folder: destination of the archive's top folders and files.

    Raises:
        UserError: as in `extract`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder) as work:
        extract(archive, ["*"], work)
        shutil.copytree(work, folder, copy_function=os.replace, dirs_exist_ok=True)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Create a temporary folder within `folder`, so that its content can be moved by renaming."""
    path = folder / ".incomplete"
    shutil.rmtree(path, ignore_errors=True)  # left by a killed run
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _extract_zip(archive: Path, patterns: Sequence[str], folder: Path) -> Iterator[str]:
    with zipfile.ZipFile(archive) as opened:
        members = [m for m in opened.infolist() if not m.is_dir()]
        members = [m for m in members if _matches_any(patterns, [m.filename])]
        # a zip lists its sizes first; a tar has none before its end
        check_free_disk(folder, sum(m.file_size for m in members), archive.name)
        for member in members:
            # extract() removes `..` and leading slashes from the name; links become plain files
            if Path(opened.extract(member, folder)) != folder / member.filename:
                raise unsafe(archive, member.filename)
            yield member.filename


def _extract_tar(archive: Path, patterns: Sequence[str], folder: Path) -> Iterator[str]:
    with _open_tar(archive) as opened:
        for member in opened:
            if member.isdir() or not _matches_any(patterns, [member.name]):
                continue
            # the filter refuses `..`, but removes leading slashes and allows some links
            if not member.isreg() or member.name.startswith("/"):
                raise unsafe(archive, member.name)
            opened.extract(member, folder, filter="data")
            yield member.name


@contextmanager
def _open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        # by content: archives of any name are taken
        is_zstd = file.read(len(ZSTD)) == ZSTD
    if not is_zstd:
        with tarfile.open(archive) as opened:
            yield opened
        return
    # tarfile reads zstd from Python 3.14 on
    with zstandard.open(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        yield opened


def _matches_any(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def unsafe(archive: Path, member: str) -> UserError:
    """Return the error for a member that must not be unpacked."""
    return UserError(
        f"{archive} is not safe: {member} is a link, a device or outside the folder, "
        "expected plain files; fetch it from its publisher"
    )
