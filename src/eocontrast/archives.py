"""Safe unpacking: what is complete alone gets its final name, and nothing leaves the folder."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath

from eocontrast.disk import check_free_disk
from eocontrast.errors import UserError


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
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{archive} cannot be unpacked: {error}") from error
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"{archive} holds nothing named {pattern}")
    return [folder / name for name in names]


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
        check_free_disk(folder, sum(member.file_size for member in members), archive.name)
        for member in members:
            opened.extract(member, folder)
        return [member.filename for member in members]


def _extract_tar(archive: Path, patterns: Sequence[str], folder: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        members = [
            member for member in opened if not member.isdir() and _matches(member.name, patterns)
        ]
        for member in members:
            _check_member(archive, member.name, plain=member.isreg())
        check_free_disk(folder, sum(member.size for member in members), archive.name)
        opened.extractall(folder, members, filter="data")
        return [member.name for member in members]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_member(archive: Path, name: str, plain: bool) -> None:
    if not plain:
        raise UserError(f"{archive} is not safe: {name} is a link or a device, expected a file")
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise UserError(f"{archive} is not safe: {name} would be written outside of the folder")
