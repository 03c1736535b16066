"""What a machine has run out of, told from a defect: a user can mend it."""

from __future__ import annotations

import errno
from collections.abc import Iterator

_BY_NUMBER = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EFBIG: "raise the limit on a file's size (`ulimit -f`)",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENFILE: "close other programs, or raise the limit on open files",
    errno.ENOMEM: "close other programs, or take smaller batches",
    errno.EROFS: "make the disk writable",
    errno.EACCES: "make the file or its folder yours",
    errno.EPERM: "make the file or its folder yours",
}

_BY_WORDS = {
    # libraries in other languages have no number to give
    "No space left on device": _BY_NUMBER[errno.ENOSPC],
    "database or disk is full": _BY_NUMBER[errno.ENOSPC],
    "File too large": _BY_NUMBER[errno.EFBIG],
    "Too many open files": _BY_NUMBER[errno.EMFILE],
    "can't allocate memory": _BY_NUMBER[errno.ENOMEM],
    "CUDA out of memory": "take smaller batches",
}

_KILLED = ("BrokenProcessPool", "KilledWorker")
"""What pools of the standard library and of Dask raise, by name: importing Dask takes a second."""


def exhausted(error: BaseException) -> str | None:
    """One line that says what is lacking and what to do, or None where it is something else."""
    for cause in _chain(error):
        said = " ".join(str(cause).split())
        if isinstance(cause, MemoryError):
            return f"out of memory: {_BY_NUMBER[errno.ENOMEM]}"
        if type(cause).__name__ in _KILLED:
            mend = _BY_NUMBER[errno.ENOMEM]
            return f"a worker process was killed, perhaps for memory: {mend}"
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return f"{said}: {_BY_NUMBER[cause.errno]}"
        for words, mend in _BY_WORDS.items():
            if words in said:
                return f"{said[:300]}: {mend}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
