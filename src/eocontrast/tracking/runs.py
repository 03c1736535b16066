"""Open MLflow runs, and the time that a stage took."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric

from eocontrast.runtime.machine import process_start
from eocontrast.runtime.signals import Stopped
from eocontrast.tracking.views import SECONDS

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Run:
    """An open MLflow run, which ends as finished, as failed after an error, or as killed.

    Args:
        client: Client of the tracking store that holds the run.
        run_id: MLflow's id of the run.
        ended: End in milliseconds since 1970, for a run that had ended and gets more metrics.
    """

    def __init__(self, client: MlflowClient, run_id: str, ended: int | None = None) -> None:
        self.client, self.run_id, self.ended = client, run_id, ended

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        killed = isinstance(value, Stopped)
        status = "FINISHED" if kind is None else "KILLED" if killed else "FAILED"
        self.client.set_terminated(self.run_id, status=status, end_time=self.ended)

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at a step."""
        self.log_all([(metrics, step)])

    def log_all(self, rows: Iterable[tuple[Mapping[str, float], int]]) -> None:
        """Log pairs of metrics and step in one transaction.

        All have the same time, so that MLflow keeps one copy of what a continued run logs again.
        """
        batch = [
            Metric(name, float(value), 0, step)
            for metrics, step in rows
            for name, value in metrics.items()
            if name != "epoch"  # the step already is the epoch
        ]
        for start in range(0, len(batch), 1000):  # MLflow's limit per call
            self.client.log_batch(self.run_id, metrics=batch[start : start + 1000])

    def file(self, path: Path) -> None:
        """Keep a copy of a figure or table with the run."""
        self.client.log_artifact(self.run_id, str(path))

    def text(self, name: str, text: str) -> None:
        """Keep a text with the run."""
        self.client.log_text(self.run_id, text, name)


class StageRun(Run):
    """The run of a whole stage, which also logs the wall time."""

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        # add to the seconds of a process that was stopped earlier
        before = self.client.get_run(self.run_id).data.metrics.get(SECONDS, 0.0)
        now = time.time()
        took = round(before + now - process_start(), 1)
        self.client.log_metric(self.run_id, SECONDS, took, timestamp=int(1000 * now))
        super().__exit__(kind, value, traceback)
