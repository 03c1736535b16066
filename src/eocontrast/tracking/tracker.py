"""The project's experiment in MLflow: runs are opened, continued and found again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Param
from mlflow.entities import Run as Row
from mlflow.exceptions import MlflowException

from eocontrast.runtime.errors import one_line
from eocontrast.runtime.machine import process_start, processor, torch_version
from eocontrast.tracking.missed import Missed, forget, kept_records
from eocontrast.tracking.provenance import origin
from eocontrast.tracking.runs import Run, StageRun, perform
from eocontrast.tracking.store import UNAVAILABLE, open_store, remote
from eocontrast.tracking.views import (
    HARDWARE_TAG,
    PARENT_TAG,
    STAGE_TAG,
    TORCH_TAG,
    WEIGHTS_TAG,
    allowed,
    view_tags,
)

CHECKPOINT_TAG = "eocontrast.checkpoint"

AnyRun = TypeVar("AnyRun", Run, StageRun)

_LOG = logging.getLogger(__name__)


class Tracker:
    """The MLflow experiment of this project, as one stage writes to it.

    A stage opens it before its work, so that a wrong address is reported at once.

    Raises:
        UserError: no tracking store answers.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.client, experiment = open_store()
        self.experiment_id = experiment.experiment_id
        self._offer_views(experiment)
        self._log_missed()

    def start(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str] | None = None,
        began: int | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Run:
        """Open a run with its parameters, its commit and its DVC experiment.

        Args:
            name: Name of the run.
            params: Parameters.
            tags: Additional tags.
            began: Start in milliseconds since 1970; now by default.
            data: Data set, as the fields of MLflow's `Dataset`.
        """
        return self._open(Run, name, params, tags or {}, began, data)

    def stage_run(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str] | None = None,
        hardware: str = "",
    ) -> StageRun:
        """Open the run of a whole stage, which started with this process.

        Args:
            name: DVC's name of the stage, such as `finetune_grid@scratch`.
            params: Parameters of the stage.
            tags: Additional tags.
            hardware: Device that computed; the processor by default.
        """
        stage = {STAGE_TAG: name, HARDWARE_TAG: hardware or processor(), TORCH_TAG: torch_version()}
        start = int(1000 * process_start())
        return self._open(StageRun, name, params, {**stage, **(tags or {})}, start)

    def ran(self, name: str, hardware: str, parent: str = "", points: Sequence[str] = ()) -> None:
        """Record the time of a stage whose results are in the runs of points.

        MLflow shows a parent as one row that opens: the single run holds its stages, and a stage
        of the curve its points.

        Args:
            name: DVC's name of the stage.
            hardware: Device that computed.
            parent: Run to show the stage below; none if empty.
            points: Runs to show below the stage.
        """
        tags = {PARENT_TAG: parent} if parent else {}
        with self.stage_run(name, {}, tags, hardware) as stage:
            for point in filter(None, points if stage.run_id else ()):
                try:
                    self.client.set_tag(point, PARENT_TAG, stage.run_id)
                except UNAVAILABLE as error:
                    self._go_on(error)
                    break

    def resume(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        checkpoint: Path | None,
        hardware: str = "",
    ) -> StageRun:
        """Continue the run of a training that was killed, found by the name of its checkpoint.

        Opens a new run if there is no checkpoint, or no run to continue.
        """
        if checkpoint is None:
            return self.stage_run(name, params, tags, hardware)
        row = self._newest(f"tags.`{CHECKPOINT_TAG}` = '{checkpoint.name}'", name)
        if row is None or (row.info.status == "FINISHED" and not checkpoint.exists()):
            every_tag = {**tags, CHECKPOINT_TAG: checkpoint.name}
            return self.stage_run(name, params, every_tag, hardware)
        self.client.update_run(row.info.run_id, status="RUNNING")
        self._log_params(row.info.run_id, flatten(params))
        return StageRun(self.client, row.info.run_id, missed=Missed({"name": name}))

    def reopen(self, weights: str, arm: str) -> Run | None:
        """Return the newest run of an arm that wrote weights of this digest, or None."""
        row = self._newest(f"tags.`{WEIGHTS_TAG}` = '{weights}' and params.arm = '{arm}'")
        if row is None:
            return None
        missed = Missed({"name": row.info.run_name})
        return Run(self.client, row.info.run_id, row.info.end_time, missed=missed)

    def _newest(self, condition: str, name: str | None = None) -> Row | None:
        """Return the newest run that meets a condition and has this name, if one is given."""
        try:
            rows = self.client.search_runs(
                [self.experiment_id],
                filter_string=condition,
                order_by=["attributes.start_time DESC"],
            )
        except UNAVAILABLE as error:
            self._go_on(error)
            return None
        return next((row for row in rows if name in (None, row.info.run_name)), None)

    def _open(
        self,
        kind: type[AnyRun],
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        start: int | None = None,
        data: Mapping[str, str] | None = None,
    ) -> AnyRun:
        # tags are part of the same request: after a kill, every run can be found by them
        stage = {"dvc.stage": self.stage, "mlflow.source.name": self.stage}
        created = {
            "name": name,
            "params": {k: str(v) for k, v in flatten(params).items()},
            "tags": {**origin(), **stage, **tags},
            "start": start or int(1000 * time.time()),
            "data": data,
        }
        # a server that has gone is not asked again: each try takes time
        missed, run_id = Missed(created), ""
        if not missed.server_gone:
            try:
                run_id = self._create(created)
            except UNAVAILABLE as error:
                self._go_on(error)
        return kind(self.client, run_id, missed=missed)

    def _create(self, created: Mapping[str, Any]) -> str:
        run = self.client.create_run(
            self.experiment_id, created["start"], tags=created["tags"], run_name=created["name"]
        )
        self._log_params(run.info.run_id, created["params"])
        if data := created.get("data"):
            used = DatasetInput(Dataset(**data), [InputTag("mlflow.data.context", "training")])
            self.client.log_inputs(run.info.run_id, [used])
        return str(run.info.run_id)

    def _go_on(self, error: BaseException) -> None:
        """Continue without a server that went away; an error of a database stops the stage."""
        if not remote(self.client.tracking_uri):
            raise error
        Missed({}).gone(error)

    def _log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        # 6,000 characters are MLflow's limit
        entries = [Param(allowed(key), str(value)[:6000]) for key, value in params.items()]
        self.client.log_batch(run_id, params=entries)

    def _log_missed(self) -> None:
        """Log what an earlier stage kept because the server had gone."""
        for file, record in kept_records():
            created, run_id = record["created"], record["run_id"]
            weights = created.get("tags", {}).get(WEIGHTS_TAG)
            if not run_id and weights and (row := self.reopen(weights, created["params"]["arm"])):
                run_id = row.run_id  # the stage of its scores was faster
            try:
                run_id = run_id or self._create(created)
                for what, given in record["entries"]:
                    perform(self.client, run_id, what, given)
            except UNAVAILABLE as error:
                _LOG.warning("%s is still not logged to MLflow: %s", file, one_line(error))
                return
            forget(file)
            print(f"logged to MLflow what it had missed of the run {created.get('name', run_id)!r}")

    def _offer_views(self, experiment: Experiment) -> None:
        """Write the views into private tags of MLflow, which another version may refuse."""
        try:
            for tag, value in view_tags(self.experiment_id).items():
                if experiment.tags.get(tag) != value:
                    self.client.set_experiment_tag(self.experiment_id, tag, value)
        except MlflowException as error:
            reason = " ".join(str(error).split())
            _LOG.warning(
                "MLflow's page will offer no views, runs are logged all the same: %s", reason
            )


def flatten(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as a single one with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
