"""Records of what a tracking server did not get; the next stage that reaches it logs them."""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from eocontrast.runtime.errors import one_line
from eocontrast.runtime.files import write_text
from eocontrast.tracking.store import project_root, tracking_uri

_gone: list[str] = []
"""First error of a server in this process. It is asked no more, since each try takes time."""

_unlogged: dict[str, list[str]] = {}
"""Names of what the server did not get, by the name of the run."""


def kept_folder() -> Path:
    """Return the folder of runs that a server did not get; git ignores it."""
    return project_root() / "checkpoints/unlogged"


class Missed:
    """Record of one run, written as JSON if the server did not get all of it.

    Args:
        created: Name, parameters, tags and start of the run, to create it later.
    """

    def __init__(self, created: Mapping[str, Any]) -> None:
        self.created, self.entries = created, list[tuple[str, dict[str, Any]]]()
        self.name = uuid.uuid4().hex

    @property
    def server_gone(self) -> bool:
        """Return whether the server has gone."""
        return bool(_gone)

    def gone(self, error: BaseException) -> None:
        """Note that the server has gone, and print it once."""
        if not _gone:
            print(
                f"MLflow at {tracking_uri()} does not answer any more ({one_line(error)}). The "
                "stage goes on without it",
                file=sys.stderr,
            )
            # at the end, once: a line for each metric would bury the stage's own
            atexit.register(_report)
        _gone.append(one_line(error))

    def add(self, what: str, given: dict[str, Any]) -> None:
        """Keep what was not logged, with a copy of its file."""
        if what == "file":
            # a copy, because a later stage may replace the file before the server is back
            copy = kept_folder() / self.name / Path(given["path"]).name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(given["path"], copy)
            given = {"path": str(copy)}
        self.entries.append((what, given))
        path = given.get("name") or Path(given.get("path", "")).name
        logged = [metric[0] for metric in given.get("metrics", ())] or [path or "its end"]
        _unlogged.setdefault(str(self.created.get("name", "?")), []).extend(logged)

    def write(self, run_id: str) -> None:
        """Write the record, unless everything was logged."""
        if self.entries:
            record = {"run_id": run_id, "created": dict(self.created), "entries": self.entries}
            write_text(kept_folder() / f"{self.name}.json", json.dumps(record))


def _report() -> None:
    """Print what was not logged, at the end of the process."""
    if not _unlogged:
        return
    runs = [f"{run} ({', '.join(dict.fromkeys(what))})" for run, what in _unlogged.items()]
    shown = "; ".join(runs[:5]) + (f"; {len(runs) - 5} more runs" if len(runs) > 5 else "")
    print(
        f"not logged to MLflow: {shown}. It is kept in {kept_folder()}, and the next stage that "
        "reaches the server logs it: `dvc repro -f -s evaluate`, for example",
        file=sys.stderr,
    )


def kept_records() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the records of runs that were not logged, and their files."""
    for file in sorted(kept_folder().glob("*.json")):
        yield file, json.loads(file.read_text(encoding="utf-8"))


def forget(file: Path) -> None:
    """Remove a record that has been logged, with its copies."""
    file.unlink(missing_ok=True)
    shutil.rmtree(file.with_suffix(""), ignore_errors=True)
    with suppress(OSError):  # others are left
        file.parent.rmdir()
