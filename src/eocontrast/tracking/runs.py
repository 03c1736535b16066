"""Open MLflow runs, the time that a stage took, and what a server that went away did not get."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from shutil import copy2
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlflow.entities import Metric

from eocontrast.runtime.files import write_text
from eocontrast.runtime.machine import process_start
from eocontrast.runtime.signals import Stopped
from eocontrast.tracking.missed import Missed
from eocontrast.tracking.store import UNAVAILABLE, project_root, remote
from eocontrast.tracking.views import SECONDS

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Run:
    """An open MLflow run, which ends as finished, as failed after an error, or as killed.

    If the server goes away, the run goes on without it and keeps what it would have logged.

    Args:
        client: Client of the tracking store that holds the run.
        run_id: MLflow's id of the run, empty if the server has gone.
        ended: End in milliseconds since 1970, for a run that had ended and gets more metrics.
        missed: Record of what the server does not get.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, ended: int | None = None, *, missed: Missed
    ) -> None:
        self.client, self.run_id, self.ended, self.missed = client, run_id, ended, missed
        self.closed = False

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        killed = isinstance(value, Stopped)
        status = "FINISHED" if kind is None else "KILLED" if killed else "FAILED"
        self._do("end", status=status, time=self.ended or int(1000 * time.time()))
        self.closed = True
        self.missed.write(self.run_id)

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at a step."""
        self.log_all([(metrics, step)])

    def log_all(self, rows: Iterable[tuple[Mapping[str, float], int]]) -> None:
        """Log pairs of metrics and step in one transaction.

        All have the same time, so that MLflow keeps one copy of what a continued run logs again.
        """
        batch = [
            (name, float(value), 0, step)
            for metrics, step in rows
            for name, value in metrics.items()
            if name != "epoch"  # the step already is the epoch
        ]
        for start in range(0, len(batch), 1000):  # MLflow's limit per call
            self._do("metrics", metrics=batch[start : start + 1000])

    def file(self, path: Path) -> None:
        """Keep a copy of a figure or table with the run."""
        self._do("file", path=str(path.absolute()))

    def text(self, name: str, text: str) -> None:
        """Keep a text with the run."""
        self._do("text", name=name, text=text)

    def _do(self, what: str, **given: Any) -> None:  # noqa: ANN401 - as JSON holds it
        if self.run_id and not self.missed.server_gone:
            try:
                perform(self.client, self.run_id, what, given)
            except UNAVAILABLE as error:
                if not remote(self.client.tracking_uri):
                    raise
                self.missed.gone(error)
            else:
                return
        self.missed.add(what, given)
        if self.closed:  # a card or a figure of a run that has ended
            self.missed.write(self.run_id)


def perform(client: MlflowClient, run_id: str, what: str, given: Mapping[str, Any]) -> None:
    """Log one thing to a run.

    Args:
        client: Client of the store.
        run_id: MLflow's id of the run.
        what: `metrics`, `file`, `text` or `end`.
        given: Arguments, as a `Missed` keeps them.
    """
    if what == "metrics":
        client.log_batch(run_id, metrics=[Metric(*metric) for metric in given["metrics"]])
    elif what == "end":
        client.set_terminated(run_id, status=given["status"], end_time=given["time"])
    elif (folder := _own_folder(client, run_id)) is not None:
        if what == "file":
            folder.mkdir(parents=True, exist_ok=True)
            copy2(given["path"], folder)
        else:
            write_text(folder / given["name"], given["text"])
    elif what == "file":
        client.log_artifact(run_id, given["path"])
    else:
        client.log_text(run_id, given["text"], given["name"])


def _own_folder(client: MlflowClient, run_id: str) -> Path | None:
    """Return the folder of a run's artifacts in this project, or None if a server keeps them.

    The project's own addresses are relative to it. MLflow would take them as relative to the folder
    in which the stage works; to change that for a moment would change it for threads that read
    patches, or pickle paths, at that moment.
    """
    uri = client.get_run(run_id).info.artifact_uri
    return None if urlsplit(uri).scheme else project_root() / uri


class StageRun(Run):
    """The run of a whole stage, which also logs the wall time."""

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        before, now = 0.0, time.time()
        if self.run_id and not self.missed.server_gone:
            # add to the seconds of a process that was stopped earlier
            try:
                before = self.client.get_run(self.run_id).data.metrics.get(SECONDS, 0.0)
            except UNAVAILABLE as error:
                if not remote(self.client.tracking_uri):
                    raise
                self.missed.gone(error)
        took = round(before + now - process_start(), 1)
        self._do("metrics", metrics=[(SECONDS, took, int(1000 * now), 0)])
        super().__exit__(kind, value, traceback)
