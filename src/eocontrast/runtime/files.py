"""Atomic writes, digests of files and checks of free space."""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from eocontrast.runtime.errors import UserError


def check_free_disk(folder: Path, size: int, what: str) -> None:
    """Check that the disk has room for `size` bytes.

    Raises:
        UserError: it has not; the message names both amounts.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{what} needs {_amount(size)}, {folder} has {_amount(free)} free: free some space"
        )


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size < 10 * 2**30 else f"{size / 2**30:.1f} GiB"


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Check that no file of the user is replaced without `overwrite`.

    Raises:
        UserError: the file exists and `overwrite` is False.
    """
    # pathlib raises OSError if the name is too long
    if os.path.exists(path) and not overwrite:
        raise UserError(f"{path} is there already: choose another name, or pass --overwrite")


def in_project(path: Path) -> Path:
    """Return a path in the project for one in the copy in which DVC runs an experiment.

    The copy lacks what neither git nor DVC tracks, and goes when the experiment ends. Paths outside
    the copy stay, and so do those that the project does not have.
    """
    root = Path(os.environ.get("DVC_ROOT", ".")).absolute()
    with suppress(ValueError):  # a path outside the copy
        original = root / path.absolute().relative_to(Path.cwd())
        # `{band}` and `*` stand for files, so that their folder has to do
        pattern = any(sign in path.name for sign in "{*?") and original.parent.is_dir()
        if root != Path.cwd() and (original.exists() or pattern):
            return original
    return path


def find_hint(path: Path) -> str:
    """Return what to do about a missing file, in a copy that DVC made for an experiment too."""
    original = in_project(path)
    if original != path:
        return (
            f"{original} exists, but `dvc exp run --temp` and `--queue` work in a copy of what "
            "git and DVC track: track it with `dvc add`, or write absolute paths"
        )
    return "put it there, or correct its path"


def file_sha256(path: Path) -> str:
    """Return the file's SHA-256 in hex.

    Raises:
        UserError: the file cannot be read.
    """
    return _digest(path, "sha256")


@cache
def code_sha256() -> str:
    """Return the SHA-256 of all modules of the package; other code resumes nothing."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def file_md5(path: Path) -> str:
    """Return the file's MD5 in hex, which detects damage but not malice.

    Raises:
        UserError: the file cannot be read.
    """
    return _digest(path, "md5")


def _digest(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, name).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}): check name and permissions") from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces `path` at the end of the body unless it fails.

    Several processes may write the same file at once; the last one wins. Temporary files that
    processes left in the folder when they were killed are removed.

    Raises:
        UserError: the file cannot be created.
    """
    check_possible(path)
    _forget_killed(path.parent.absolute())
    partial = _partial(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_possible(path: Path) -> None:
    """Check that a file can be created at `path`; create its folder.

    Raises:
        UserError: the file cannot be created.
    """
    partial = _partial(path)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error}): check free space and permissions, or choose "
            "another path"
        ) from error


def _partial(path: Path) -> Path:
    # process ids are unique on one machine only, and disks may be shared
    return path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.partial")


@cache
def _forget_killed(folder: Path) -> None:
    """Remove temporary files of writers on this machine that no longer run."""
    # once per process: listing a folder of n files for each of them takes n² steps. The three
    # files of one of 200 patches took 13 ms with it, 7 without
    for left in folder.glob(f"*.{glob.escape(platform.node())}.*.partial"):
        number = left.name.removesuffix(".partial").rpartition(".")[2]
        if number.isdecimal() and not _runs(int(number)):
            left.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process, or no process id
        return True
    return True
