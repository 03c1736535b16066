"""The archives in which a data set is published: fetched, verified, unpacked and dropped.

They come one after the other, so that no more than one lies beside what is unpacked already. What
is done is noted (`unpacked`), so that a dropped archive is fetched again only if its content lacks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, file_md5
from eocontrast.sources.download.archives import unpack
from eocontrast.sources.download.transfer import fetch_file
from eocontrast.sources.download.unpacked import forget_damaged, list_files, note_of, write_note
from eocontrast.sources.rois import LISTED, data_folder

_LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")


@dataclass(frozen=True)
class Archive:
    """One archive of a data set.

    Attributes:
        name: of the file.
        md5: in hex, or empty where its publisher gives none: then it is not fetched.
        size: bytes of all that it unpacks to, or 0 where that is not known before it is read.
        holds: a shell pattern of what it unpacks to.
    """

    name: str
    md5: str
    size: int
    holds: str


def fetched(
    archives: Sequence[Archive], url: str, md5s: Path | None, folder: Path, *, keep: bool
) -> Path:
    """`folder`, with the content of all archives.

    Args:
        archives: what is published.
        url: of the folder that they lie in.
        md5s: a file as md5sum writes it, in place of the publisher's digests.
        folder: what they unpack to, and `archives/` within it.
        keep: an archive stays there when it is unpacked.

    Raises:
        UserError: one cannot be had, has another md5, cannot be unpacked, or the disk is full.
    """
    wanted = _of_mirror(archives, md5s) if md5s else archives
    for archive in wanted:
        forget_damaged(folder, archive.name)
    missing = [a for a in wanted if not _is_done(folder, a.name, a.md5)]
    _check_room(folder, missing)
    for number, archive in enumerate(missing, 1):
        target = folder / "archives" / archive.name
        beside = archive.size or None
        fetch_file(f"{url}/{archive.name}", target, md5=archive.md5, beside=beside)
        list_files(folder, archive.name, unpack(target, folder))
        write_note(folder, archive.name, archive.md5)
        if not keep:
            target.unlink()
        print(f"{archive.name} is unpacked, {number} of {len(missing)}", file=sys.stderr)
    return folder


def in_place(
    path: Path,
    archives: Sequence[Archive],
    folder: Path,
    tops: Sequence[str] = (),
    md5s: Path | None = None,
) -> Path:
    """Where the user's data set lies: in `path`; or in `folder`, where `path` is or holds archives.

    Args:
        path: a folder; or one archive, of any name.
        archives: how they are called within a folder, where they have names.
        folder: as of `fetched`; the user's archives stay where they are.
        tops: as of `unwrapped`.
        md5s: as of `fetched`.

    Raises:
        UserError: an archive is missing beside others, has another md5, cannot be unpacked, or the
            disk is full.
    """
    given = data_folder(path)
    if given.is_file():
        listed = read_md5s(md5s) if md5s else {}
        own = folder / given.name  # apart from what was fetched, or unpacked of another archive
        return unwrapped(_unpacked(given, own, listed.get(given.name, "")), tops)
    data = unwrapped(given, tops)
    unpacked = any(any(data.glob(archive.holds)) for archive in archives)
    if unpacked or not any((given / archive.name).is_file() for archive in archives):
        return data
    _check_complete(given, archives)
    for archive in _of_mirror(archives, md5s) if md5s else archives:
        _unpacked(given / archive.name, folder, archive.md5)
    return folder


def unwrapped(data: Path, tops: Sequence[str]) -> Path:
    """The folder that holds the data set: `data`, or one in it, as archives often have one around.

    Args:
        data: a folder.
        tops: shell patterns of what the data set begins with.

    Returns:
        `data` where it holds one of `tops`, or where none or several folders in it do.
    """
    for around in ("", "*/", "*/*/"):
        found = {there.parent for top in tops for there in data.glob(around + top)}
        if found:
            return found.pop() if len(found) == 1 else data
    return data


def listed_as(data: Path, raster: str, folder: Path) -> str:
    """A raster's path as it stands in the manifest: as of `folder` where its data set is there.

    Args:
        data: where the data set lies, as `fetched` or `in_place` say.
        raster: a path within it.
        folder: what was unpacked; manifests are relative to it.
    """
    inside = data.is_relative_to(folder)
    return (data / raster).relative_to(folder).as_posix() if inside else str(data / raster)


def read_md5s(path: Path) -> dict[str, str]:
    """Digests by file name, of a file as md5sum writes it.

    Raises:
        UserError: it cannot be read, or a line is none of md5sum's.
    """
    try:
        lines = data_folder(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}), expected what md5sum writes") from error
    found = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if line and not match:
            raise UserError(
                f"{path} line {number} is {line[:60]!r}, expected 32 hex digits, two spaces and a "
                "file name, as md5sum writes them"
            )
        if match:
            found[Path(match[2]).name] = match[1].lower()
    return found


def _check_room(folder: Path, missing: Sequence[Archive]) -> None:
    """What all of them unpack to fits, before the first one is fetched; nights are long."""
    folder.mkdir(parents=True, exist_ok=True)
    count = f"{len(missing)} archives" if len(missing) > 1 else "one archive"
    check_free_disk(folder, sum(a.size for a in missing), f"the content of {count}")


def _check_complete(data: Path, archives: Sequence[Archive]) -> None:
    lacking = [a.name for a in archives if not (data / a.name).is_file()]
    if lacking:
        raise UserError(
            f"{data} has {len(archives) - len(lacking)} of {len(archives)} archives that are "
            f"needed, and lacks {', '.join(lacking[:LISTED])}: put them there, or name the folder "
            "that all of them are unpacked to"
        )


def _of_mirror(archives: Sequence[Archive], md5s: Path) -> list[Archive]:
    """The archives as somebody packed them anew."""
    listed = read_md5s(md5s)
    for archive in archives:
        if archive.name not in listed:
            raise UserError(
                f"{md5s} has no line for {archive.name}, which is to be fetched: add it, as md5sum "
                "writes it"
            )
    return [replace(archive, md5=listed[archive.name], size=0) for archive in archives]


def _unpacked(archive: Path, folder: Path, md5: str) -> Path:
    """`folder`, with the content of a user's archive, that is unpacked once."""
    if md5 and _is_done(folder, archive.name, md5):
        return folder
    found = file_md5(archive)  # without its publisher's digest it is known by its own
    if md5 not in ("", found):
        raise UserError(
            f"{archive} has md5 {found}, expected {md5}: it is damaged or another release; fetch "
            "it again"
        )
    if not _is_done(folder, archive.name, found):
        unpack(archive, folder)  # its files are not listed: reBEN's are millions
        write_note(folder, archive.name, found)
    return folder


def _is_done(folder: Path, name: str, md5: str) -> bool:
    note = note_of(folder, name)
    return note.exists() and read_md5s(note) == {name: md5}
