"""Names, parameters, metrics and columns with which runs appear in MLflow.

MLflow 3 keeps the choice of columns in the browser, and starts without any parameter or metric.
A server can offer views nevertheless, as MLflow's own button "Share" does. Each view is a tag of
the experiment that holds JSON, and a link in the experiment's description names the tag.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from eocontrast.models.fusion import STREAMS

if TYPE_CHECKING:  # torch takes seconds, and some stages do without
    from eocontrast.evaluation.evaluate import Evaluation
    from eocontrast.models.finetuned import FinetunedSpec

SINGLE = "single"
"""Arm of the single run, which is not part of the curve."""

MAIN_METRIC = "score"
"""AA, macro F1 or mIoU on the test split, depending on the task: one column serves all tasks.

The name sorts before all `test.*`, so that it is on the first screen of a comparison.
"""

WEIGHTS_TAG = "eocontrast.weights"
"""SHA-256 of the weight file of a point."""

STAGE_TAG, HARDWARE_TAG, TORCH_TAG = "eocontrast.stage", "hardware", "torch"
"""Tags of a stage's run: DVC's name of the stage, its hardware, its version of torch."""

PARENT_TAG = "mlflow.parentRunId"
"""MLflow's tag of a run that is shown below another."""

SECONDS = "seconds"
"""Metric of a stage's run: its wall time."""

_PARAMS = ("task", "arm", "init", "inputs", "fraction", "seed")  # all fit a screen of 1920 pixels
_COLUMNS = (
    "attributes.`Source`",
    *(f"params.`{name}`" for name in _PARAMS),
    f"metrics.`{MAIN_METRIC}`",
)
"""Columns by MLflow's names; the source of a run is its stage."""

VIEWS: dict[str, dict[str, object]] = {
    "runs": {"selectedColumns": _COLUMNS},
    "points": {
        "selectedColumns": _COLUMNS,
        "searchFilter": f"tags.`{WEIGHTS_TAG}` != ''",
        "orderByKey": f"metrics.`{MAIN_METRIC}`",
        "orderByAsc": False,
    },
    "curves": {
        "selectedColumns": _COLUMNS,
        "searchFilter": "attributes.run_name LIKE 'curve %'",
        "runsHiddenMode": "SHOW_ALL",  # by default only the first ten are drawn
    },
    "stages": {
        "selectedColumns": (
            f"metrics.`{SECONDS}`",
            *(f"tags.`{name}`" for name in (HARDWARE_TAG, TORCH_TAG)),
            "attributes.`Version`",
        ),
        "searchFilter": f"tags.`{STAGE_TAG}` != ''",
    },
}


def point_name(spec: FinetunedSpec, arm: str) -> str:
    """Return the name of a point's run, from the header of its weights."""
    # names of the curve's arms already contain the init
    prefix = f"{arm} {spec.init}" if arm == SINGLE else arm
    return f"{prefix} {spec.fraction} {spec.seed}"


def point_params(spec: FinetunedSpec, arm: str) -> dict[str, object]:
    """Return the parameters of a point's run, from the header of its weights."""
    choices = ("task", "head", "init", "fusion", "frozen", "lr", "modality_dropout", "recipe")
    keys = (*choices, "fraction", "seed", "n_labels")
    inputs = "+".join(sensor for stream in STREAMS[spec.fusion] for sensor in stream)
    params = {"arm": arm, "inputs": inputs, "backbone": spec.architecture.name}
    return params | {key: getattr(spec, key) for key in keys}


def point_data(spec: FinetunedSpec) -> dict[str, str]:
    """Return the data set of a point as MLflow's column `Dataset` shows it."""
    name = spec.data.get("name", "unknown")
    source = json.dumps(
        {"digest": spec.data_digest, "licence": spec.data.get("licence", "unknown")}
    )
    # MLflow takes 36 characters of a digest
    digest = spec.data_digest[:36]
    return {"name": name, "digest": digest, "source_type": "eocontrast", "source": source}


def point_losses(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of an epoch, with a name of the loss that sorts behind the scores.

    MLflow's comparison of runs opens with the metrics that come first.
    """
    return {"train_loss" if name == "loss" else name: value for name, value in metrics.items()}


def point_scores(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Return the metrics of a point without those that are NaN.

    Scores with all sensors, the first evaluation, are named `test.<score>` and scores of one sensor
    `test.<sensor>.<score>`. The main metric of the task is also named `score`.
    """
    whole = evaluations[0]
    metrics = {f"test.{name}": value for name, value in whole.scores.items()}
    metrics[MAIN_METRIC] = rounded(whole.scores[whole.task.metric])
    for alone in evaluations[1:]:
        metrics |= {f"test.{alone.inputs}.{name}": v for name, v in alone.scores.items()}
    for name, by_class in whole.by_class.items():
        # MLflow would open a section of charts at a slash
        metrics[allowed(f"test.recall.{name.replace('/', '_')}")] = by_class["recall"]
    return {name: value for name, value in metrics.items() if value == value}


def allowed(key: str) -> str:
    """Return a key without characters that MLflow refuses, as in a class named "Sea & Lake".

    A digest keeps names apart that differ in such characters only.
    """
    safe = re.sub(r"[^\w\-.: /]", "_", key)[:200]
    if safe == key:
        return key
    return f"{safe}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


def rounded(score: float) -> float:
    """Round a score to the four digits that fit MLflow's column."""
    return round(score, 4)


def view_tags(experiment_id: str) -> dict[str, str]:
    """Return the tags that hold the views of an experiment, and its description with links."""
    tags = {f"mlflow.sharedViewState.{key}": json.dumps(view) for key, view in VIEWS.items()}
    runs, points, curves, stages = (_link(experiment_id, key) for key in VIEWS)
    description = (
        f"Views: **[all runs]({runs})**, **[the points of the label curve, best first]({points})**,"
        f" **[the curves over the number of labels]({curves}&compareRunsMode=CHART)**,"
        f" **[the stages, what each ran on and how long]({stages})**."
    )
    return {**tags, "mlflow.note.content": description}


def _link(experiment_id: str, view: str) -> str:
    training = "workflowType=machine_learning"  # MLflow 3.17 opens its pages for agents by default
    return f"#/experiments/{experiment_id}/runs?{training}&viewStateShareKey={view}"
