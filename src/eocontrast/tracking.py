"""One MLflow run a stage, a point of the curve, and an arm of the curve.

`finetune` opens a point's run and `evaluate` adds the test scores to the same one, found by the
digest of the weights, so that a point is one row in MLflow's table.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Experiment, Metric, Param
from mlflow.entities import Run as Row
from mlflow.exceptions import MlflowException

from eocontrast.arms import STREAMS
from eocontrast.disk import file_sha256
from eocontrast.machine import process_start, processor, torch_version
from eocontrast.runs_view import (
    HARDWARE_TAG,
    MAIN_METRIC,
    SECONDS,
    STAGE_TAG,
    TORCH_TAG,
    TRAINED,
    WEIGHTS_TAG,
    view_tags,
)
from eocontrast.stops import Stopped
from eocontrast.tracking_database import opened

if TYPE_CHECKING:  # torch and timm take seconds, and some stages do without
    from mlflow import MlflowClient

    from eocontrast.evaluation import Evaluation
    from eocontrast.label_curve import ArmCurve
    from eocontrast.points import Trained

EXPERIMENT = "eocontrast"
CHECKPOINT_TAG = "eocontrast.checkpoint"

SINGLE = "single"
"""The arm of a point that is none of the curve's."""


class Run:
    """An open MLflow run; closes itself as finished, failed after an error, or killed.

    Args:
        client: of the store that holds it.
        run_id: MLflow's.
        ended: milliseconds since 1970, of a run that was over and is but told more.
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
        """Log numbers at a step."""
        self.log_all([(metrics, step)])

    def log_all(self, rows: Iterable[tuple[Mapping[str, float], int]]) -> None:
        """Log (metrics, step) pairs in one transaction.

        All have the same time, so that MLflow keeps what a run that goes on says again but once.
        """
        batch = [
            Metric(name, float(value), 0, step)
            for metrics, step in rows
            for name, value in metrics.items()
            if name != "epoch"  # which is the step; MLflow would compare runs by it
        ]
        for start in range(0, len(batch), 1000):  # MLflow's limit a call
            self.client.log_batch(self.run_id, metrics=batch[start : start + 1000])

    def file(self, path: Path) -> None:
        """Keep a copy of a figure or table with the run."""
        self.client.log_artifact(self.run_id, str(path))

    def text(self, name: str, text: str) -> None:
        """Keep a text with the run."""
        self.client.log_text(self.run_id, text, name)


class StageRun(Run):
    """The run of a whole stage, which also tells how long that took."""

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        # seconds of a process that was stopped count, if it had the time to say so
        before = self.client.get_run(self.run_id).data.metrics.get(SECONDS, 0.0)
        now = time.time()
        took = round(before + now - process_start(), 1)
        self.client.log_metric(self.run_id, SECONDS, took, timestamp=int(1000 * now))
        super().__exit__(kind, value, traceback)


@dataclass(frozen=True)
class StageTime:
    """What the newest run of a stage took.

    Attributes:
        seconds: from the start of its process, imports included.
        hardware: processor and GPU, in words.
        torch: the version that was installed.
        commit: of the code, "unknown" outside a repository.
        date: when it began, ISO 8601, UTC.
    """

    seconds: float
    hardware: str
    torch: str
    commit: str
    date: str


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
        return {name: None if row is None else _stage_time(row) for name, row in newest}

    def finetuned(self, arm: str, trained: Trained) -> None:
        """Open the run of a point: its parameters, and losses an epoch."""
        header = trained.header
        name = _point_name(header, arm)
        tags = {WEIGHTS_TAG: file_sha256(trained.file), "data.digest": header["data_digest"]}
        begun = self.reopen(tags[WEIGHTS_TAG], arm) if trained.again else None
        with begun or self.start(name, point_params(header, arm), tags) as run:
            run.log_all(_by_epoch(trained.history))

    def evaluated(self, arm: str, file: Path, evaluations: Sequence[Evaluation]) -> Run:
        """Add test scores to the run of a point, or open one where `finetune` came from a cache.

        Scores with all sensors are `test.<score>`, with one missing `test.<sensor>.<score>`; the
        task's own is `score` besides.
        """
        weights, evaluation = file_sha256(file), evaluations[0]
        run = self.reopen(weights, arm)
        if run is None:
            header = evaluation.header
            tags = {WEIGHTS_TAG: weights, "data.digest": header["data_digest"]}
            name = _point_name(header, arm)
            run = self.start(name, point_params(header, arm), tags)
        found = {f"test.{name}": value for name, value in evaluation.scores.items()}
        found[MAIN_METRIC] = _shown(evaluation.scores[evaluation.task.metric])
        for alone in evaluations[1:]:
            found |= {f"test.{alone.inputs}.{name}": v for name, v in alone.scores.items()}
        for name, by_class in evaluation.by_class.items():
            found[f"test.recall.{_metric_name(name)}"] = by_class["recall"]
        with run:
            run.log({name: value for name, value in found.items() if value == value})
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
                        | {MAIN_METRIC: _shown(value)},
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
            self.experiment_id, began, tags={**_origin(), **stage, **tags}, run_name=name
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


def _stage_time(row: Row) -> StageTime:
    tags = row.data.tags
    began = datetime.fromtimestamp(row.info.start_time / 1000, UTC)
    return StageTime(
        seconds=row.data.metrics[SECONDS],
        hardware=tags[HARDWARE_TAG],
        torch=tags[TORCH_TAG],
        commit=tags["mlflow.source.git.commit"],
        date=began.strftime("%Y-%m-%d %H:%M"),
    )


def _by_epoch(history: Iterable[Mapping[str, float]]) -> Iterator[tuple[dict[str, float], int]]:
    for metrics in history:
        named = {f"{TRAINED}{name}": value for name, value in metrics.items() if name != "epoch"}
        yield named, int(metrics["epoch"])


def _point_name(header: Mapping[str, Any], arm: str) -> str:
    # arms of the curve say by their names what they start from
    named = f"{arm} {header['init']}" if arm == SINGLE else arm
    return f"{named} {header['fraction']} {header['seed']}"


def _shown(score: float) -> float:
    """As many digits as MLflow's column has room for."""
    return round(score, 4)


def _metric_name(name: str) -> str:
    """MLflow refuses commas, ampersands and the like in names."""
    return re.sub(r"[^/\w.\- :]", "_", name)


def flatten(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def point_params(header: Mapping[str, Any], arm: str) -> dict[str, object]:
    """What tells one point from another in MLflow's table, from the header of its weights."""
    choices = ("task", "head", "init", "fusion", "frozen", "lr", "modality_dropout", "recipe")
    keys = (*choices, "fraction", "seed", "n_labels")
    architecture = header["architecture"]["name"]
    inputs = "+".join(sensor for stream in STREAMS[header["fusion"]] for sensor in stream)
    own = {"arm": arm, "inputs": inputs, "backbone": architecture}
    return own | {key: header[key] for key in keys}


def provenance(hardware: str, seconds: float) -> dict[str, str]:
    """Where a weight file comes from, for its model card; its own bytes must not hold that."""
    return {
        "commit": _origin()["mlflow.source.git.commit"],
        "hardware": hardware,
        "torch": torch_version(),
        "seconds": f"{seconds:.0f}",
        "date": datetime.now(UTC).date().isoformat(),
    }


def _origin() -> dict[str, str]:
    """Commit of the code, and the DVC experiment where there is one."""
    tags = {"dvc.experiment": os.environ.get("DVC_EXP_NAME", "")}
    try:
        # the git of whoever runs this, with words that nobody else chooses
        commit = subprocess.run(  # nosec B603 B607
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        tags["mlflow.source.git.commit"] = commit
    except (OSError, subprocess.CalledProcessError):
        tags["mlflow.source.git.commit"] = "unknown"  # not a git checkout
    return {key: value for key, value in tags.items() if value}
