"""Archives that are published in parts, of which only some members are unpacked.

The parts are joined while they are read, so an archive takes its size on the disk only once.
`archives/<name>.unpacked` lists the folders of members that are complete, so that another choice of
members unpacks only what is missing.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

import zstandard
from tqdm import tqdm

from eocontrast.runtime.errors import UserError, some
from eocontrast.runtime.files import check_free_disk, file_md5, write_text
from eocontrast.sources.download.archives import DAMAGE, ZSTD, scratch, unsafe
from eocontrast.sources.download.published import listed_md5s
from eocontrast.sources.download.transfer import fetch_file

_GZIP = b"\x1f\x8b"  # magic number, RFC 1952
_BLOCK = 2**20  # bytes; tarfile reads streams in pieces of 10 KiB by default


@dataclass(frozen=True)
class SplitArchive:
    """A tar archive cut into parts.

    Members are called `<top>/<scene>/<folder>/<file>`.

    Attributes:
        top: top folder of its members.
        parts: digest by file name, in the order of the content; an empty digest is not checked.
        size: unpacked size of one folder in bytes.
    """

    top: str
    parts: Mapping[str, str]
    size: int


def fetch_members(
    archive: SplitArchive,
    folders: Sequence[str],
    url: str,
    md5s: Path | None,
    folder: Path,
    *,
    keep: bool,
) -> None:
    """Download an archive and unpack the folders that are not in `folder` yet.

    Args:
        archive: the published archive.
        folders: names of the folders of members to unpack.
        url: address of the folder that holds the parts.
        md5s: file in the format of md5sum that replaces the publisher's digests.
        folder: destination; downloads go to its subfolder `archives/`.
        keep: whether to keep the parts after unpacking.

    Raises:
        UserError: a part cannot be downloaded or has another md5, a folder is not in the archive,
            the archive is damaged or unsafe, or the disk is full.
    """
    missing = _missing(archive, folders, folder)
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    beside = archive.size * len(missing)
    check_free_disk(folder, beside, f"{len(missing)} folders of {archive.top}")
    parts = []
    for name, md5 in _digests(archive, md5s).items():
        target = folder / "archives" / name
        parts.append(fetch_file(f"{url}/{name}", target, md5=md5, beside=beside))
    _unpack(archive, parts, missing, folder)
    if not keep:
        for part in parts:
            part.unlink()


def unpack_members(
    archive: SplitArchive, folders: Sequence[str], source: Path, md5s: Path | None, folder: Path
) -> None:
    """Unpack the user's copy of an archive, as `fetch_members` does after its download.

    Raises:
        UserError: as in `fetch_members`, or a part is missing in `source`.
    """
    missing = _missing(archive, folders, folder)
    if not missing:
        return
    absent = [name for name in archive.parts if not (source / name).is_file()]
    if absent:
        raise UserError(
            f"{source} has {len(archive.parts) - len(absent)} of the {len(archive.parts)} parts of "
            f"{archive.top}; {', '.join(absent)} is missing. Put it there"
        )
    for name, md5 in _digests(archive, md5s).items():
        digest = file_md5(source / name) if md5 else md5
        if digest != md5:
            raise UserError(
                f"{source / name} has md5 {digest}, expected {md5}; it is damaged or another "
                "release. Download it again"
            )
    folder.mkdir(parents=True, exist_ok=True)
    check_free_disk(folder, archive.size * len(missing), f"{len(missing)} folders of {archive.top}")
    _unpack(archive, [source / name for name in archive.parts], missing, folder)


def _digests(archive: SplitArchive, md5s: Path | None) -> Mapping[str, str]:
    """Return the digest of each part, those of the user's file if there is one."""
    return archive.parts if md5s is None else listed_md5s(md5s, archive.parts)


def _note(archive: SplitArchive, folder: Path) -> Path:
    return folder / "archives" / f"{archive.top}.unpacked"


def _missing(archive: SplitArchive, folders: Sequence[str], folder: Path) -> list[str]:
    note = _note(archive, folder)
    present = set(note.read_text().split("\n")) if note.exists() else set[str]()
    return [name for name in folders if name not in present]


def _unpack(
    archive: SplitArchive, parts: Sequence[Path], folders: Sequence[str], folder: Path
) -> None:
    """Unpack folders beside their destination, move them in once all are complete, and note it."""
    # an archive of another release may lack some, which is an error, not a smaller data set
    left = set(folders)
    with scratch(folder) as work:
        try:
            for name in _members(archive, parts, set(folders), work):
                left.discard(name)
        except DAMAGE as error:
            names = ", ".join(part.name for part in parts)
            reason = " ".join(str(error).split())
            raise UserError(f"{names} cannot be unpacked: {reason}; fetch again") from error
        if left:
            raise UserError(
                f"{archive.top} has {len(folders) - len(left)} of {len(folders)} wanted folders; "
                f"{some(sorted(left))} are missing. Use the archive and the metadata "
                "of one release"
            )
        shutil.copytree(work, folder, copy_function=os.replace, dirs_exist_ok=True)
    note = _note(archive, folder)
    before = note.read_text() if note.exists() else ""
    write_text(note, before + "".join(f"{name}\n" for name in folders))
    print(f"unpacked {len(folders)} folders of {archive.top}", file=sys.stderr)


def _members(
    archive: SplitArchive, parts: Sequence[Path], wanted: set[str], work: Path
) -> Iterator[str]:
    """Write the members of the wanted folders, and yield their folder for each."""
    with (
        _decompressed(parts) as stream,
        tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as opened,
        tqdm(
            opened, f"unpack {archive.top}", unit="file", leave=False, delay=1, disable=None
        ) as bar,
    ):
        for member in bar:
            opened.members.clear()  # type: ignore[attr-defined]  # millions until Python 3.13
            path = PurePosixPath(member.name)
            if member.isdir() or path.parent.name not in wanted:
                continue
            inner = PurePosixPath(*path.parts[-4:])
            if not member.isreg() or inner.parts[0] != archive.top or ".." in path.parts:
                raise unsafe(parts[0], member.name)
            (work / inner).parent.mkdir(parents=True, exist_ok=True)
            content = opened.extractfile(member)
            assert content is not None  # a regular file has content
            with content, (work / inner).open("wb") as file:
                shutil.copyfileobj(content, file)
            yield path.parent.name


@contextmanager
def _decompressed(parts: Sequence[Path]) -> Iterator[IO[bytes]]:
    """Open the joined parts as one uncompressed stream, by their first bytes."""
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("rb")) for part in parts]
        magic = files[0].read(len(ZSTD))
        files[0].seek(0)
        joined = stack.enter_context(io.BufferedReader(_Joined(files), _BLOCK))
        if magic == ZSTD:
            yield stack.enter_context(zstandard.open(joined, "rb"))
        elif magic[:2] == _GZIP:
            yield cast("IO[bytes]", stack.enter_context(gzip.open(joined)))
        else:
            yield joined


class _Joined(io.RawIOBase):
    """Files read one after the other."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        self.files = list(files)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while self.files:
            count: int = self.files[0].readinto(buffer)  # type: ignore[attr-defined]
            if count:
                return count
            del self.files[0]
        return 0
