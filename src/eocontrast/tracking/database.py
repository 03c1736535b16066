"""MLflow's database, which is there as a whole or not at all.

MLflow makes its tables one by one, in hundreds of steps. Two programs that do so in one file at a
time, such as two stages, or a stage and `mlflow ui`, leave one that none of them can open.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient

from eocontrast.runtime.errors import UserError

_ABANDONED_SECONDS = 30.0
"""A database that nobody wrote to for so long is not being made: steps take milliseconds."""

_EMPTY_SECONDS = 2.0
"""A file that stays empty for so long is no database: its maker's first table takes less."""

_PATIENCE_SECONDS = 120.0
"""All tables take seconds; a clock that was set back would have a file written in the future."""


@contextmanager
def opened(uri: str) -> Iterator[MlflowClient]:
    """A client of the tracking store; within the block no other stage opens it.

    Raises:
        UserError: the database is damaged.
    """
    path = _file(uri)
    if path is None:
        yield MlflowClient(tracking_uri=uri)
        return
    with FileLock(f"{path}.lock"):
        _remove_empty(path)
        if not path.exists():
            _make(path)
        _wait_until_whole(path)
        yield MlflowClient(tracking_uri=uri)


def _file(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _make(path: Path) -> None:
    """Make the tables under another name, and give them theirs at once."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a run that was killed
    MlflowClient(tracking_uri=f"sqlite:///{partial}")
    try:
        os.link(partial, path)
    except FileExistsError:  # a program that takes no lock was faster
        pass
    finally:
        partial.unlink()


def _remove_empty(path: Path) -> None:
    """Remove a file that a crash left empty, not one that another program is about to fill."""
    until = time.monotonic() + _EMPTY_SECONDS
    while path.is_file() and not path.stat().st_size:
        if max(time.time() - path.stat().st_mtime - _EMPTY_SECONDS, time.monotonic() - until) >= 0:
            path.unlink()
            return
        time.sleep(0.1)


def _wait_until_whole(path: Path) -> None:
    """While another program makes the tables; of what was left half made MLflow says so itself."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not _is_whole(path) and time.monotonic() < until:
        if time.time() - path.stat().st_mtime >= _ABANDONED_SECONDS:
            return
        time.sleep(0.1)


def _is_whole(path: Path) -> bool:
    """Whether there is an experiment: MLflow makes the first one when all tables are there.

    Raises:
        UserError: it is no database, or a damaged one.
    """
    try:
        # writable, so that what a killed program left in the journal is taken back
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            if database.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is None:
                return False
            # 7 ms for 5 MB. SQLite has no checksums: 7 of 60 flipped bits are seen; 45 are by
            # integrity_check, which keeps writers waiting three times as long
            (seen,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # no such table yet, or locked by whoever makes it
        return False
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    if seen != "ok":
        raise _damaged(path, " ".join(seen.split()))
    return True


def _damaged(path: Path, seen: str) -> UserError:
    return UserError(
        f"{path} is damaged ({seen[:200]}), expected MLflow's database: move it away, with "
        f"{path.name}-journal if that is there; the next run makes a new one. Scores and models "
        "are in metrics/ and models/"
    )
