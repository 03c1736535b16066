"""One MLflow run a result: a pretraining, a point of the curve, an arm of the curve.

`finetune` opens a point's run and `evaluate` adds the test scores to the same one, found by the
digest of the weights, so that a point is one row in MLflow's table.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Experiment, Metric, Param
from mlflow.entities import Run as Row
from mlflow.exceptions import MlflowException

from eocontrast.arms import STREAMS
from eocontrast.disk import file_sha256
from eocontrast.runs_view import MAIN_METRIC, view_tags
from eocontrast.stops import Stopped
from eocontrast.tracking_database import opened

if TYPE_CHECKING:  # torch and timm take seconds, and some stages do without
    from mlflow import MlflowClient

    from eocontrast.evaluation import Evaluation
    from eocontrast.label_curve import ArmCurve
    from eocontrast.points import Trained

EXPERIMENT = "eocontrast"
WEIGHTS_TAG = "eocontrast.weights"
CHECKPOINT_TAG = "eocontrast.checkpoint"


class Run:
    """An open MLflow run; closes itself as finished, failed after an error, or killed."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, value: object, traceback: object) -> None:
        killed = isinstance(value, Stopped)
        status = "FINISHED" if kind is None else "KILLED" if killed else "FAILED"
        self.client.set_terminated(self.run_id, status=status)

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
        # tags go in with the run: a kill leaves none that cannot be found again
        stage = {"dvc.stage": self.stage, "mlflow.source.name": self.stage}
        every_tag = {**_origin(), **stage, **(tags or {})}
        run = self.client.create_run(self.experiment_id, tags=every_tag, run_name=name)
        self._describe(run.info.run_id, params)
        return Run(self.client, run.info.run_id)

    def resume(
        self,
        name: str,
        params: Mapping[str, object],
        tags: Mapping[str, str],
        checkpoint: Path | None,
    ) -> Run:
        """Go on with the run of a training that was killed, found by its checkpoint's name.

        Opens a run where there is none to go on with, or without a checkpoint.
        """
        if checkpoint is None:
            return self.start(name, params, tags)
        begun = self._newest(f"tags.`{CHECKPOINT_TAG}` = '{checkpoint.name}'", name)
        if begun is None or (begun.info.status == "FINISHED" and not checkpoint.exists()):
            return self.start(name, params, {**tags, CHECKPOINT_TAG: checkpoint.name})
        self.client.update_run(begun.info.run_id, status="RUNNING")
        self._describe(begun.info.run_id, params)
        return Run(self.client, begun.info.run_id)

    def finetuned(self, arm: str, trained: Trained) -> None:
        """Open the run of a point: its parameters, and losses an epoch."""
        header = trained.header
        name = f"{arm} {header['fraction']} {header['seed']}"
        tags = {WEIGHTS_TAG: file_sha256(trained.file), "data.digest": header["data_digest"]}
        begun = self.reopen(tags[WEIGHTS_TAG], arm) if trained.again else None
        with begun or self.start(name, point_params(header, arm), tags) as run:
            run.log_all((metrics, int(metrics["epoch"])) for metrics in trained.history)

    def evaluated(self, arm: str, file: Path, evaluations: Sequence[Evaluation]) -> Run:
        """Add test scores to the run of a point, or open one where `finetune` came from a cache.

        Scores with all sensors are `test.<score>`, with one missing `test.<sensor>.<score>`; the
        task's own is `test.score` besides.
        """
        weights, evaluation = file_sha256(file), evaluations[0]
        run = self.reopen(weights, arm)
        if run is None:
            header = evaluation.header
            tags = {WEIGHTS_TAG: weights, "data.digest": header["data_digest"]}
            name = f"{arm} {header['fraction']} {header['seed']}"
            run = self.start(name, point_params(header, arm), tags)
        found = {f"test.{name}": value for name, value in evaluation.scores.items()}
        found[MAIN_METRIC] = evaluation.scores[evaluation.task.metric]
        for alone in evaluations[1:]:
            found |= {f"test.{alone.inputs}.{name}": v for name, v in alone.scores.items()}
        for name, by_class in evaluation.by_class.items():
            found[f"test.recall.{_metric_name(name)}"] = by_class["recall"]
        with run:
            run.log({name: value for name, value in found.items() if value == value})
        return run

    def curves(self, curves: Mapping[str, ArmCurve], files: Iterable[Path]) -> None:
        """One run an arm, its score against the number of labels as step; one for the figures."""
        for name, curve in curves.items():
            arm = curve.result
            described = {"arm": name, "task": arm.task, "init": arm.init, "inputs": arm.inputs}
            with self.start(f"curve {name}", described) as run:
                steps = zip(curve.n_labels, curve.values, curve.intervals, strict=True)
                metric = arm.metric
                run.log_all(
                    (
                        {metric: value, f"{metric}.low": b.low, f"{metric}.high": b.high}
                        | {MAIN_METRIC: value},
                        int(n),
                    )
                    for n, value, b in steps
                )
        with self.start("label curve", {"arms": len(curves)}) as run:
            for file in files:
                run.file(file)

    def reopen(self, weights: str, arm: str) -> Run | None:
        """The newest run of this arm that wrote weights of this digest, or None."""
        found = self._newest(f"tags.`{WEIGHTS_TAG}` = '{weights}' and params.arm = '{arm}'")
        return None if found is None else Run(self.client, found.info.run_id)

    def _newest(self, wanted: str, name: str | None = None) -> Row | None:
        """The newest run that a filter finds, of this name where one is given."""
        found = self.client.search_runs(
            [self.experiment_id], filter_string=wanted, order_by=["attributes.start_time DESC"]
        )
        named = (row for row in found if name in (None, row.info.run_name))
        return next(named, None)

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
