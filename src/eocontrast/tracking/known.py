"""Scores that a weight file has in the project's MLflow, if it was scored there."""

from __future__ import annotations

import sys
from pathlib import Path

from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.runtime.errors import UserError, one_line
from eocontrast.runtime.files import file_sha256
from eocontrast.tracking.store import UNAVAILABLE, open_store, project_root, tracking_uri
from eocontrast.tracking.views import WEIGHTS_TAG


def known_scores(file: Path) -> dict[str, float]:
    """Return the main test score of a fine-tuned model by its inputs, `all` or one sensor.

    The run is found by the digest of the weights, so a renamed or copied file has its scores, and
    one from elsewhere has none.

    Returns:
        Scores; empty if no run scored this file, or MLflow does not answer, which is printed.
    """
    own = project_root() / "mlflow.db"
    if tracking_uri() == f"sqlite:///{own}" and not own.exists():
        return {}  # to open a database would create it
    metric = FinetunedSpec.load(file).learning.metric
    found = f"tags.`{WEIGHTS_TAG}` = '{file_sha256(file)}'"
    try:
        client, experiment = open_store()
        rows = client.search_runs([experiment.experiment_id], filter_string=found)
    except (UserError, *UNAVAILABLE) as error:
        print(f"note: the scores of {file} were not looked up: {one_line(error)}", file=sys.stderr)
        return {}
    # a run without test scores is one that `evaluate` has not reached yet
    scored = [row.data.metrics for row in rows if f"test.{metric}" in row.data.metrics]
    if not scored:
        return {}
    keys = {"all": f"test.{metric}", **{s: f"test.{s}.{metric}" for s in ("s1", "s2")}}
    return {inputs: scored[0][key] for inputs, key in keys.items() if key in scored[0]}
