"""Errors that a user can correct, and the conversion of other exceptions into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")

_DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""Exceptions that readers raise if a file is missing, truncated or of another kind."""

_WITHOUT_ERRNO = (
    "No space left",
    "File too large",
    "disk is full",
    "can't allocate memory",
    "CUDA out of memory",
)
"""Messages of safetensors, SQLite and torch, which raise exceptions of their own."""

COMES_BACK = "; if it comes back damaged, so is DVC's copy: see Damage in docs/reliability.md"
"""Hint after a command that writes an output of a stage again."""


class UserError(Exception):
    """A mistake in parameters, data or paths.

    The message says what was found, what was expected and what to do. Stages print it without a
    traceback and exit with code 2. Every other exception is a defect of the project.
    """


def missing_package(what: str, package: str, extra: str) -> UserError:
    """Return the message for a package that only an optional extra of eocontrast installs."""
    return UserError(
        f"{what} needs {package}, which is not installed; run `pip install 'eocontrast[{extra}]'`, "
        f"or `pip install -e '.[{extra}]'` in a clone"
    )


def named(where: str, name: str, known: Mapping[str, Entry]) -> Entry:
    """Return the entry with that name.

    Raises:
        UserError: there is no such entry; the message lists all names.
    """
    if name not in known:
        raise UserError(f"{name!r} is none of {where}: {', '.join(known)}")
    return known[name]


@contextmanager
def readable(otherwise: str, mend: str) -> Iterator[None]:
    """Turn exceptions of readers into a `UserError`.

    Args:
        otherwise: Start of the message: which file cannot be read.
        mend: End of the message: what to do.

    Raises:
        UserError: the body failed on a missing or damaged file.
    """
    try:
        yield
    except (*_DAMAGE, RecursionError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else one_line(error)
        raise UserError(f"{otherwise} ({why}): {mend}") from error


def resource_error(error: BaseException) -> str | None:
    """Return a line about a full disk, short memory or a killed worker; None for a defect."""
    cause: BaseException | None = error
    while cause is not None:
        # Dask's own exception is told by its name: importing Dask takes a second
        if isinstance(cause, BrokenExecutor) or type(cause).__name__ == "KilledWorker":
            return "a worker process was killed, perhaps because memory ran out: free some memory"
        if isinstance(cause, MemoryError):
            return f"out of memory ({one_line(cause)}): free some memory, or use smaller batches"
        # subclasses such as FileNotFoundError are defects, but for the one of permissions
        system = type(cause) in (OSError, PermissionError) and cause.args[1:]
        if system or any(words in str(cause) for words in _WITHOUT_ERRNO):
            return f"{one_line(cause)}: check free space and memory, limits and permissions"
        cause = cause.__cause__ or cause.__context__
    return None


def one_line(error: BaseException) -> str:
    """Return the first 300 characters of an error's message, without line breaks."""
    return " ".join(str(error).split())[:300]


def meant(word: str, known: Iterable[str]) -> str:
    """Suggest the known name closest to a word, for the end of a message; empty if none is."""
    # a typing mistake is more likely than a missing entry
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


_SHOWN = 5
"""Names that a message lists."""


def some(names: Iterable[str]) -> str:
    """List the first few names, and how many there are more."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
