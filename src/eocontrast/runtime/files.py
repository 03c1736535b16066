"""Files as such: what they hold, in short, and whether there is room for more."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from eocontrast.runtime.errors import UserError


def check_free_disk(folder: Path, size: int, what: str) -> None:
    """There is room for `size` bytes.

    Raises:
        UserError: says how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{what} needs {_amount(size)}, {folder} has {_amount(free)} free: free some space"
        )


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size < 10 * 2**30 else f"{size / 2**30:.1f} GiB"


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Nothing that a user has is replaced unasked.

    Raises:
        UserError: there is a file, and `overwrite` is not given.
    """
    # unlike pathlib's, this one has an answer for a name that is too long
    if os.path.exists(path) and not overwrite:
        raise UserError(f"{path} is there already: choose another name, or pass --overwrite")


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hex.

    Raises:
        UserError: it cannot be read.
    """
    return _digest(path, "sha256")


@cache
def code_sha256() -> str:
    """Of all modules of this package, in hex: work that other code began is not gone on with."""
    told = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        told.update(file.read_bytes())
    return told.hexdigest()


def file_md5(path: Path) -> str:
    """The file's MD5 in hex, which tells damage, not malice.

    Raises:
        UserError: it cannot be read.
    """
    return _digest(path, "md5")


def _digest(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, name).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}): is it there, and yours?") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name to write to; what is there at the end moves to `path`, and nothing after an error.

    Several processes may write the same file at once: the last one wins. What one that was killed
    left is removed.

    Raises:
        UserError: no file can be made there.
    """
    check_possible(path)
    _forget_killed(path)
    partial = _partial(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """The text as a whole file."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_possible(path: Path) -> None:
    """A file can be made at `path`, in a folder that is made where it lacks.

    Raises:
        UserError: it cannot.
    """
    partial = _partial(path)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error}): name another place") from error


def _partial(path: Path) -> Path:
    # numbers of processes are those of one machine, and a disk may be shared
    return path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.partial")


def _forget_killed(path: Path) -> None:
    """Remove what writers of `path` on this machine left that do not run any more."""
    start = f"{path.name}.{platform.node()}."
    for left in path.parent.glob(f"{glob.escape(start)}*.partial"):
        number = left.name.removeprefix(start).removesuffix(".partial")
        if number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no number of a process
        return True
    return True
