"""Safe unpacking: what is complete alone gets its final name, and nothing leaves the folder."""

from __future__ import annotations

import filecmp
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TypeVar

import zstandard
from tqdm import tqdm

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk

_ZSTD = b"\x28\xb5\x2f\xfd"
"""What a zstd frame begins with (RFC 8878)."""

MOST_RATIO = 200
"""Rasters shrink to a twentieth; zeros to a thousandth by deflate, to less by bzip2 and zstd."""

HARMLESS = 2**28
"""Bytes that any archive may hold."""

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    LookupError,  # zipfile, of a member without a name
    ArithmeticError,
    RuntimeError,  # zipfile, of what is encrypted or packed in a way that it does not know
)

Member = TypeVar("Member", tarfile.TarInfo, zipfile.ZipInfo)


def extract(archive: Path, patterns: Sequence[str], folder: Path) -> list[Path]:
    """Unpack the members of a zip or tar archive that match, under their own names.

    Args:
        archive: .zip, .whl, or .tar with any compression.
        patterns: shell patterns of member names; `*` spans folders.
        folder: what is written stays inside of it.

    Raises:
        UserError: the archive is damaged, a pattern matches nothing, a member is a link or device
            or would leave the folder, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        unpack = _extract_zip if zipfile.is_zipfile(archive) else _extract_tar
        names = unpack(archive, patterns, folder)
    except _DAMAGE as error:
        said = " ".join(str(error).split())  # tarfile has a line a compression
        raise UserError(f"{archive} cannot be unpacked: {said}; fetch it again") from error
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"{archive} holds nothing named {pattern}; is it another release?")
    return [folder / name for name in names]


def unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack every file of a zip or tar archive; a run that is killed may be repeated.

    Folders that are there already take in what is new, as the archives of one season's sensors
    share their top folder.

    Args:
        archive: .zip, or .tar with any compression; read twice, to know beforehand what is in it.
        folder: gets the archive's own top folders and files, by rename when all are complete.

    Returns:
        The archive's files, in `folder`, sorted.

    Raises:
        UserError: as `extract`, or another file is there under the name of one in the archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder) as work:
        files = {path.relative_to(work) for path in extract(archive, ["*"], work)}
        _check_no_other(archive, work, folder)
        _move_into(work, folder)
    return [folder / name for name in sorted(files)]


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder within `folder`, so that what is complete moves out by a mere rename.

    One that a killed run left is removed first: the pipeline records what lies in `folder`.
    """
    path = folder / ".incomplete"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _extract_zip(archive: Path, patterns: Sequence[str], folder: Path) -> list[str]:
    with zipfile.ZipFile(archive) as opened:
        members = [
            member
            for member in opened.infolist()
            if not member.is_dir() and _matches(member.filename, patterns)
        ]
        for member in members:
            # the upper half holds the Unix mode; 0 where the archive was made elsewhere
            kind = member.external_attr >> 28
            _check_member(archive, member.filename, plain=kind in (0, 0o10))
        size = sum(member.file_size for member in members)
        _refuse_bomb(archive, size)
        check_free_disk(folder, size, archive.name)
        for member in _progress(members, f"unpack {archive.name}"):
            opened.extract(member, folder)
        return [member.filename for member in members]


def _extract_tar(archive: Path, patterns: Sequence[str], folder: Path) -> list[str]:
    names, size = [], 0
    with _opened_tar(archive) as opened:
        for member in _progress(opened, f"list {archive.name}"):
            if not member.isdir() and _matches(member.name, patterns):
                _check_member(archive, member.name, plain=member.isreg())
                names.append(member.name)
                size += member.size
                _refuse_bomb(archive, size)  # at once: to read on takes as long as to unpack
    check_free_disk(folder, size, archive.name)
    with _opened_tar(archive) as opened:  # anew: what is compressed is read forwards only
        for member in _progress(opened, f"unpack {archive.name}", len(names)):
            if not member.isdir() and _matches(member.name, patterns):
                opened.extract(member, folder, filter="data")
    return names


@contextmanager
def _opened_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """A tar archive of any compression, to be read once from front to back."""
    with archive.open("rb") as file:
        packed = file.read(len(_ZSTD)) == _ZSTD
    if not packed:
        with tarfile.open(archive) as opened:
            yield opened
        return
    # tarfile knows zstd from Python 3.14 on
    with zstandard.open(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        yield opened


def _progress(members: Iterable[Member], what: str, total: int | None = None) -> Iterable[Member]:
    return tqdm(members, what, total, unit="file", leave=False, delay=1, disable=None)


def _check_no_other(archive: Path, work: Path, folder: Path) -> None:
    """Nothing would be replaced; the same file may be there from a run that was killed."""
    for path in sorted(work.rglob("*")):
        there = folder / path.relative_to(work)
        if not there.exists() or (path.is_dir() and there.is_dir()):
            continue
        if path.is_dir() or there.is_dir() or not filecmp.cmp(path, there, shallow=False):
            raise UserError(
                f"{there} is there already, and {archive} holds another of that name: move yours "
                "away, or unpack elsewhere"
            )


def _move_into(work: Path, folder: Path) -> None:
    for entry in sorted(work.iterdir()):
        target = folder / entry.name
        if target.is_dir():
            _move_into(entry, target)
        else:
            os.replace(entry, target)


def _refuse_bomb(archive: Path, size: int) -> None:
    packed = archive.stat().st_size
    if size > max(HARMLESS, MOST_RATIO * packed):
        raise UserError(
            f"{archive} is not safe: its {packed} bytes would become {size} or more, expected "
            f"{MOST_RATIO} times as many at most; fetch it from its publisher"
        )


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_member(archive: Path, name: str, plain: bool) -> None:
    if not plain:
        raise UserError(
            f"{archive} is not safe: {name} is a link or a device, expected a file; fetch it from "
            "its publisher"
        )
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise UserError(
            f"{archive} is not safe: {name} would be written outside of the folder; fetch it from "
            "its publisher"
        )
