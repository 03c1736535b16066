"""The archives in which a data set is published: download, verify, unpack and remove them.

Archives are handled one after the other, so that at most one lies beside the unpacked data.
`archives/<name>.md5` records each unpacked archive, so that it is not downloaded again.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eocontrast.runtime.errors import UserError, some
from eocontrast.runtime.files import check_free_disk, file_md5, write_text
from eocontrast.sources.download.archives import unpack
from eocontrast.sources.download.transfer import fetch_file
from eocontrast.sources.rois import data_folder

# accept both modes of md5sum: text has two spaces, binary a space and an asterisk
_MD5SUM_LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")


@dataclass(frozen=True)
class Archive:
    """One archive of a data set.

    Attributes:
        name: file name.
        md5: digest in hex; empty if the publisher gives none, and then it cannot be downloaded.
        size: unpacked size in bytes; 0 if unknown.
        holds: shell pattern of the paths that it unpacks to.
    """

    name: str
    md5: str
    size: int
    holds: str


def fetch_archives(
    archives: Sequence[Archive], url: str, md5s: Path | None, folder: Path, *, keep: bool
) -> None:
    """Download and unpack the archives whose content is not in `folder` yet.

    Args:
        archives: the published archives.
        url: address of the folder that holds them.
        md5s: file in the format of md5sum that replaces the publisher's digests.
        folder: destination; downloads go to its subfolder `archives/`.
        keep: whether to keep an archive after unpacking it.

    Raises:
        UserError: an archive cannot be downloaded or unpacked, has another md5, or the disk is
            full.
    """
    wanted = _of_mirror(archives, md5s) if md5s else archives
    missing = [a for a in wanted if not _is_unpacked(folder, a.name, a.md5)]
    folder.mkdir(parents=True, exist_ok=True)
    # checked for all archives before the first download, which may take hours
    check_free_disk(folder, sum(a.size for a in missing), f"the content of {len(missing)} archives")
    for number, archive in enumerate(missing, 1):
        target = folder / "archives" / archive.name
        beside = archive.size or None
        fetch_file(f"{url}/{archive.name}", target, md5=archive.md5, beside=beside)
        unpack(target, folder)
        _write_note(folder, archive.name, archive.md5)
        if not keep:
            target.unlink()
        print(f"unpacked {archive.name}, {number} of {len(missing)}", file=sys.stderr)


def locate_data(
    path: Path,
    archives: Sequence[Archive],
    folder: Path,
    tops: Sequence[str] = (),
    md5s: Path | None = None,
) -> Path:
    """Return the folder of the user's data set, unpacking the user's archives if needed.

    Args:
        path: folder with the rasters or the archives, or a single archive of any name.
        archives: the archives to look for in a folder.
        folder: destination for unpacked archives; the archives themselves stay in place.
        tops: as in `find_root`.
        md5s: as in `fetch_archives`.

    Raises:
        UserError: some archives are missing, one has another md5 or cannot be unpacked, or the
            disk is full.
    """
    path = data_folder(path)
    if path.is_file():
        digests = read_md5s(md5s) if md5s else {}
        # a folder per archive, apart from downloads and other archives
        target = folder / path.name
        _unpack_once(path, target, digests.get(path.name, ""))
        return find_root(target, tops)
    data = find_root(path, tops)
    has_rasters = any(any(data.glob(archive.holds)) for archive in archives)
    if has_rasters or not any((path / archive.name).is_file() for archive in archives):
        return data
    _check_complete(path, archives)
    for archive in _of_mirror(archives, md5s) if md5s else archives:
        _unpack_once(path / archive.name, folder, archive.md5)
    return folder


def find_root(data: Path, tops: Sequence[str]) -> Path:
    """Return the folder that contains the data set: `data` or one of its subfolders.

    Args:
        data: a folder; archives often wrap the data set in one or two more.
        tops: shell patterns of the top folders of the data set.

    Returns:
        The only folder that contains one of `tops`; `data` if there are none or several.
    """
    # from the outside: a match further in may be a copy within the data set
    for depth in ("", "*/", "*/*/"):
        parents = {match.parent for top in tops for match in data.glob(depth + top)}
        if parents:
            return parents.pop() if len(parents) == 1 else data
    return data


def manifest_path(data: Path, raster: str, folder: Path) -> str:
    """Return the path of a raster as the manifest lists it.

    Args:
        data: folder of the data set.
        raster: path relative to `data`.
        folder: folder that manifests are relative to; paths outside it are absolute.
    """
    path = data / raster
    return path.relative_to(folder).as_posix() if data.is_relative_to(folder) else str(path)


def unpack_again(data: Path, folder: Path) -> str:
    """Return advice on how to unpack an archive again; empty if `data` was not unpacked."""
    if not data.is_relative_to(folder):
        return ""
    top = folder.joinpath(*data.relative_to(folder).parts[:1])
    note = _note(top if (top / "archives").is_dir() else folder, "<archive>")
    return f"; remove {note} to unpack an archive again"


def read_md5s(path: Path) -> dict[str, str]:
    """Read digests by file name from a file in the format of md5sum.

    Raises:
        UserError: the file cannot be read, or a line has another format.
    """
    try:
        lines = data_folder(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); expected the output of md5sum"
        ) from error
    digests = {}
    for number, line in enumerate(lines, 1):
        match = _MD5SUM_LINE.fullmatch(line)
        if line and not match:
            raise UserError(
                f"{path} line {number} is {line[:60]!r}, expected 32 hex digits, two spaces and a "
                "file name, as md5sum writes them"
            )
        if match:
            # md5sum lists paths as they were given to it
            digests[Path(match[2]).name] = match[1].lower()
    return digests


def listed_md5s(path: Path, names: Collection[str]) -> dict[str, str]:
    """Read the digests of these files, as `read_md5s` does.

    Raises:
        UserError: as in `read_md5s`, or a file has no line.
    """
    digests = read_md5s(path)
    for name in names:
        if name not in digests:
            raise UserError(f"{path} has no line for {name}; add it, as md5sum writes it")
    return {name: digests[name] for name in names}


def _check_complete(data: Path, archives: Sequence[Archive]) -> None:
    missing = [a.name for a in archives if not (data / a.name).is_file()]
    if missing:
        raise UserError(
            f"{data} has {len(archives) - len(missing)} of {len(archives)} archives; "
            f"{some(missing)} are missing. Put them there, or name the folder that "
            "all of them are unpacked to"
        )


def _of_mirror(archives: Sequence[Archive], md5s: Path) -> list[Archive]:
    """Return the archives as a mirror repacked them: other digests, unknown sizes."""
    digests = listed_md5s(md5s, [archive.name for archive in archives])
    return [replace(archive, md5=digests[archive.name], size=0) for archive in archives]


def _unpack_once(archive: Path, folder: Path, md5: str) -> None:
    """Unpack a user's archive unless its note exists."""
    if md5 and _is_unpacked(folder, archive.name, md5):
        return
    digest = file_md5(archive)  # without a published digest, the archive's own identifies it
    if md5 not in ("", digest):
        raise UserError(
            f"{archive} has md5 {digest}, expected {md5}; it is damaged or another release. "
            "Download it again"
        )
    if not _is_unpacked(folder, archive.name, digest):
        unpack(archive, folder)
        _write_note(folder, archive.name, digest)


def _note(folder: Path, name: str) -> Path:
    return folder / "archives" / f"{name}.md5"


def _write_note(folder: Path, name: str, md5: str) -> None:
    write_text(_note(folder, name), f"{md5}  {name}\n")


def _is_unpacked(folder: Path, name: str, md5: str) -> bool:
    note = _note(folder, name)
    return note.exists() and read_md5s(note) == {name: md5}
