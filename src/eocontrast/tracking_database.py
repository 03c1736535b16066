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

_ABANDONED_SECONDS = 30.0
"""A database that nobody wrote to for so long is not being made: steps take milliseconds."""

_PATIENCE_SECONDS = 120.0
"""All tables take seconds; a clock that was set back would have a file written in the future."""


@contextmanager
def opened(uri: str) -> Iterator[MlflowClient]:
    """A client of the tracking store; within the block no other stage opens it."""
    path = _file(uri)
    if path is None:
        yield MlflowClient(tracking_uri=uri)
        return
    with FileLock(f"{path}.lock"):
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


def _wait_until_whole(path: Path) -> None:
    """While another program makes the tables; of what was left half made MLflow says so itself."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while not _is_whole(path) and time.monotonic() < until:
        if time.time() - path.stat().st_mtime >= _ABANDONED_SECONDS:
            return
        time.sleep(0.1)


def _is_whole(path: Path) -> bool:
    """Whether there is an experiment: MLflow makes the first one when all tables are there."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("SELECT 1 FROM experiments LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # no such table yet, or locked by whoever makes it
        return False
