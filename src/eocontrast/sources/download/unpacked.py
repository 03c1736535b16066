"""What was unpacked of an archive, noted in `archives/` beside it.

`<name>.md5` says which archive it was, in md5sum's own format: a dropped archive is not fetched
again. `<name>.json` has the size of each of its files: it is where one is gone or of another size.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from eocontrast.runtime.errors import readable
from eocontrast.runtime.files import write_text
from eocontrast.runtime.sealed import read_sealed, write_sealed


def note_of(folder: Path, name: str) -> Path:
    """Where it is noted that the archive of this name was unpacked in `folder`."""
    return folder / "archives" / f"{name}.md5"


def write_note(folder: Path, name: str, md5: str) -> None:
    """Note that the archive of this name and md5 was unpacked in `folder`."""
    write_text(note_of(folder, name), f"{md5}  {name}\n")


def list_files(folder: Path, name: str, files: Iterable[Path]) -> None:
    """Write down what the archive of this name was unpacked to, before it is noted as done."""
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    write_sealed(_list_of(folder, name), {"files": sizes})


def forget_damaged(folder: Path, name: str) -> None:
    """Remove files that are not as long as they were, and then the note, or where one is gone.

    Raises:
        UserError: the list of files is damaged.
    """
    listed, note = _list_of(folder, name), note_of(folder, name)
    if not note.exists() or not listed.exists():
        return
    with readable(f"{listed} is damaged", f"remove {note} to have {name} fetched again"):
        files: dict[str, int] = read_sealed(listed)["files"]
    sizes = {folder / path: size for path, size in files.items()}
    lacking = [path for path, size in sizes.items() if _size(path) != size]
    if lacking:
        print(
            f"{lacking[0]} is missing or not as it was unpacked, {len(lacking)} of {len(sizes)} "
            f"files of {name} are: they are unpacked again",
            file=sys.stderr,
        )
        for path in lacking:
            path.unlink(missing_ok=True)
        note.unlink()


def how_again(data: Path, folder: Path) -> str:
    """What to do where a file of a user's archive lacks, or nothing if `data` was not unpacked."""
    if not data.is_relative_to(folder):
        return ""
    own = folder.joinpath(*data.relative_to(folder).parts[:1])
    note = note_of(own if (own / "archives").is_dir() else folder, "<archive>")
    return f"; remove {note} to have an archive unpacked again"


def _list_of(folder: Path, name: str) -> Path:
    return folder / "archives" / f"{name}.json"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
