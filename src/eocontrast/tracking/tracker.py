"""One MLflow run a stage, a point of the curve, and an arm of the curve.

`finetune` opens a point's run and `evaluate` adds the test scores to the same one, found by the
digest of the weights, so that a point is one row in MLflow's table.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Experiment, Param
from mlflow.entities import Run as Row
from mlflow.exceptions import MlflowException

from eocontrast.runtime.files import file_sha256
from eocontrast.runtime.machine import process_start, processor, torch_version
from eocontrast.tracking.database import opened
from eocontrast.tracking.points import point_name, point_params, scores_told, shown
from eocontrast.tracking.provenance import origin
from eocontrast.tracking.runs import Run, StageRun, StageTime, stage_time
from eocontrast.tracking.views import (
    HARDWARE_TAG,
    MAIN_METRIC,
    STAGE_TAG,
    TORCH_TAG,
    WEIGHTS_TAG,
    view_tags,
)

if TYPE_CHECKING:  # torch and timm take seconds, and some stages do without
    from eocontrast.curve.label_curve import ArmCurve
    from eocontrast.evaluation.evaluate import Evaluation
    from eocontrast.finetuning.run import Trained

EXPERIMENT = "eocontrast"
CHECKPOINT_TAG = "eocontrast.checkpoint"


class Tracker:
    """The MLflow experiment of this project, for one stage."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        root = Path(os.environ.get("DVC_ROOT", ".")).absolute()
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
        # a relative artifact folder would vanish with the temporary folder of a queued run
        artifacts = (root / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
        with opened(uri) as self.client:
            experiment = self._experiment(artifacts)
            self.experiment_id = experiment.experiment_id
            for tag, value in view_tags(self.experiment_id).items():
                if experiment.tags.get(tag) != value:
                    self.client.set_experiment_tag(self.experiment_id, tag, value)

    def start(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str] | None = None
    ) -> Run:
        """Open a run with its parameters and where it comes from."""
        return Run(self.client, self._create(name, params, tags or {}))

    def stage_run(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str] | None = None,
        hardware: str = "",
    ) -> StageRun:
        """Open the run of a whole stage, which began with this process.

        Args:
            name: as DVC calls the stage, `finetune_grid@scratch`.
            params: of the stage.
            tags: more of them.
            hardware: what it computed on; without it, the processor.
        """
        own = {STAGE_TAG: name, HARDWARE_TAG: hardware or processor(), TORCH_TAG: torch_version()}
        began = int(1000 * process_start())
        return StageRun(self.client, self._create(name, params, {**own, **(tags or {})}, began))

    def ran(self, name: str, hardware: str) -> None:
        """Tell of a stage whose results are in the runs of points."""
        with self.stage_run(name, {}, hardware=hardware):
            pass

    def resume(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        checkpoint: Path | None,
        hardware: str = "",
    ) -> StageRun:
        """Go on with the run of a training that was killed, found by its checkpoint's name.

        Opens a run of the stage where there is none to go on with, or without a checkpoint.
        """
        if checkpoint is None:
            return self.stage_run(name, params, tags, hardware)
        begun = self._newest(f"tags.`{CHECKPOINT_TAG}` = '{checkpoint.name}'", name)
        if begun is None or (begun.info.status == "FINISHED" and not checkpoint.exists()):
            every_tag = {**tags, CHECKPOINT_TAG: checkpoint.name}
            return self.stage_run(name, params, every_tag, hardware)
        self.client.update_run(begun.info.run_id, status="RUNNING")
        self._describe(begun.info.run_id, params)
        return StageRun(self.client, begun.info.run_id)

    def stage_times(self, names: Iterable[str]) -> dict[str, StageTime | None]:
        """What the newest run of each stage took; None of one that ran nowhere that is known.

        That is so where its outputs came out of a cache.
        """
        newest = ((name, self._newest(_finished(name))) for name in names)
        return {name: None if row is None else stage_time(row) for name, row in newest}

    def finetuned(self, arm: str, trained: Trained) -> None:
        """Open the run of a point: its parameters, and losses an epoch."""
        header = trained.header
        name = point_name(header, arm)
        tags = {WEIGHTS_TAG: file_sha256(trained.file), "data.digest": header["data_digest"]}
        begun = self.reopen(tags[WEIGHTS_TAG], arm) if trained.again else None
        with begun or self.start(name, point_params(header, arm), tags) as run:
            run.log_all((metrics, int(metrics["epoch"])) for metrics in trained.history)

    def evaluated(self, arm: str, file: Path, evaluations: Sequence[Evaluation]) -> Run:
        """Add test scores to the run of a point, or open one where `finetune` came from a cache."""
        weights = file_sha256(file)
        run = self.reopen(weights, arm)
        if run is None:
            header = evaluations[0].header
            tags = {WEIGHTS_TAG: weights, "data.digest": header["data_digest"]}
            name = point_name(header, arm)
            run = self.start(name, point_params(header, arm), tags)
        with run:
            run.log(scores_told(evaluations))
        return run

    def curves(self, curves: Mapping[str, ArmCurve]) -> None:
        """One run an arm, its score against the number of labels as step."""
        for name, curve in curves.items():
            arm = curve.result
            described = {"arm": name, "task": arm.task, "init": arm.init, "inputs": arm.inputs}
            with self.start(f"curve {name}", described) as run:
                steps = zip(curve.n_labels, curve.values, curve.intervals, strict=True)
                metric = arm.metric
                run.log_all(
                    (
                        {metric: value, f"{metric}.low": b.low, f"{metric}.high": b.high}
                        | {MAIN_METRIC: shown(value)},
                        int(n),
                    )
                    for n, value, b in steps
                )

    def reopen(self, weights: str, arm: str) -> Run | None:
        """The newest run of this arm that wrote weights of this digest, or None."""
        found = self._newest(f"tags.`{WEIGHTS_TAG}` = '{weights}' and params.arm = '{arm}'")
        return None if found is None else Run(self.client, found.info.run_id, found.info.end_time)

    def _newest(self, wanted: str, name: str | None = None) -> Row | None:
        """The newest run that a filter finds, of this name where one is given."""
        found = self.client.search_runs(
            [self.experiment_id], filter_string=wanted, order_by=["attributes.start_time DESC"]
        )
        named = (row for row in found if name in (None, row.info.run_name))
        return next(named, None)

    def _create(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        began: int | None = None,
    ) -> str:
        # tags go in with the run: a kill leaves none that cannot be found again
        stage = {"dvc.stage": self.stage, "mlflow.source.name": self.stage}
        run = self.client.create_run(
            self.experiment_id, began, tags={**origin(), **stage, **tags}, run_name=name
        )
        self._describe(run.info.run_id, params)
        return str(run.info.run_id)

    def _describe(self, run_id: str, params: Mapping[str, object]) -> None:
        told = [Param(key, str(value)[:6000]) for key, value in flatten(params).items()]
        self.client.log_batch(run_id, params=told)

    def _experiment(self, artifacts: str | None) -> Experiment:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            # another process may be faster; if it was not that, the next lines say so
            with suppress(MlflowException):
                self.client.create_experiment(EXPERIMENT, artifact_location=artifacts)
            found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            raise RuntimeError(f"MLflow has no experiment {EXPERIMENT} and creates none")
        return found


def _finished(stage: str) -> str:
    return f"tags.`{STAGE_TAG}` = '{stage}' and attributes.status = 'FINISHED'"


def flatten(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
