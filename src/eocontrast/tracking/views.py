"""How MLflow's pages of runs begin: with the columns that tell one point from another.

MLflow 3 keeps the choice of columns in the browser and begins without any parameter or metric. A
server can offer a view all the same, as its own button "Share" does: a tag of the experiment holds
the view as JSON, and a link names the tag. The experiment's description has the links.
"""

from __future__ import annotations

import json

MAIN_METRIC = "score"
"""AA, macro F1 or mIoU on the test split, by the task, so that one column serves all tasks.

By its letters it comes before all `test.*`, and so is on the first screen of a comparison.
"""

WEIGHTS_TAG = "eocontrast.weights"
"""Digest of the weights of a point."""

STAGE_TAG, HARDWARE_TAG, TORCH_TAG = "eocontrast.stage", "hardware", "torch"
"""Of the run of a whole stage: its name, as DVC has it, and what it ran on."""

SECONDS = "seconds"
"""That a stage took."""

_PARAMS = ("arm", "init", "inputs", "fraction", "seed")  # all fit a screen of 1920 pixels
_COLUMNS = (
    "attributes.`Source`",
    *(f"params.`{name}`" for name in _PARAMS),
    f"metrics.`{MAIN_METRIC}`",
)
"""As MLflow names columns; the source of a run is its stage."""

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
        "runsHiddenMode": "SHOW_ALL",  # else the first ten alone are drawn
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


def view_tags(experiment_id: str) -> dict[str, str]:
    """Tags that give an experiment its views, and a description that links to them."""
    tags = {f"mlflow.sharedViewState.{key}": json.dumps(view) for key, view in VIEWS.items()}
    runs, points, curves, stages = (_link(experiment_id, key) for key in VIEWS)
    described = (
        f"Views: **[all runs]({runs})**, **[the points of the label curve, best first]({points})**,"
        f" **[the curves over the number of labels]({curves}&compareRunsMode=CHART)**,"
        f" **[the stages, what each ran on and how long]({stages})**."
    )
    return {**tags, "mlflow.note.content": described}


def _link(experiment_id: str, view: str) -> str:
    training = "workflowType=machine_learning"  # MLflow 3.17 begins with pages for agents
    return f"#/experiments/{experiment_id}/runs?{training}&viewStateShareKey={view}"
