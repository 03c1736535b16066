"""MLflow runs of points of the label curve and of whole arms.

`finetune` opens the run of a point. `evaluate` finds it by the digest of the weights and adds the
test scores, so that a point is one row in MLflow's table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from eocontrast.runtime.files import file_sha256
from eocontrast.tracking.views import (
    MAIN_METRIC,
    WEIGHTS_TAG,
    point_data,
    point_losses,
    point_name,
    point_params,
    point_scores,
    rounded,
)

if TYPE_CHECKING:  # torch and timm take seconds, and some stages do without
    from eocontrast.curve.label_curve import ArmCurve
    from eocontrast.evaluation.grid import Scored
    from eocontrast.finetuning.run import Trained
    from eocontrast.models.finetuned import FinetunedSpec
    from eocontrast.tracking.runs import Run
    from eocontrast.tracking.tracker import Tracker


def log_trained(tracker: Tracker, trained: Trained) -> str:
    """Log a fine-tuned point: its parameters, its losses by epoch, and its time.

    Returns:
        MLflow's id of the run; empty if the server has gone.
    """
    weights = file_sha256(trained.file)
    previous = tracker.reopen(weights, trained.arm) if trained.again else None
    began, ended = (int(1000 * seconds) for seconds in trained.times)
    with previous or _start(tracker, trained.spec, trained.arm, weights, began) as run:
        run.ended = ended
        run.log_all((point_losses(metrics), int(metrics["epoch"])) for metrics in trained.history)
    return run.run_id


def log_scored(tracker: Tracker, scored: Scored) -> Run:
    """Add test scores to the run of a point.

    Opens a run if there is none, because DVC took the weights from its cache.
    """
    arm, file, evaluations = scored
    weights = file_sha256(file)
    previous = tracker.reopen(weights, arm)
    with previous or _start(tracker, evaluations[0].spec, arm, weights) as run:
        run.log(point_scores(evaluations))
    return run


def _start(
    tracker: Tracker, spec: FinetunedSpec, arm: str, weights: str, began: int | None = None
) -> Run:
    tags = {WEIGHTS_TAG: weights, "data.digest": spec.data_digest}
    name, params, data = point_name(spec, arm), point_params(spec, arm), point_data(spec)
    return tracker.start(name, params, tags, began, data)


def log_curves(tracker: Tracker, curves: Mapping[str, ArmCurve]) -> None:
    """Log a run per arm: its score, with the number of labels as step."""
    for name, curve in curves.items():
        arm = curve.result
        params = {"arm": name, "task": arm.task, "init": arm.init, "inputs": arm.inputs}
        with tracker.start(f"curve {name}", params) as run:
            steps = zip(curve.n_labels, curve.values, curve.intervals, strict=True)
            metric = arm.metric
            run.log_all(
                (
                    {metric: value, f"{metric}.low": b.low, f"{metric}.high": b.high}
                    | {MAIN_METRIC: rounded(value)},
                    int(n),
                )
                for n, value, b in steps
            )
