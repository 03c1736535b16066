"""How a point of the label curve is told in MLflow: its run's name, parameters and metrics."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eocontrast.models.fusion import STREAMS
from eocontrast.tracking.views import MAIN_METRIC

if TYPE_CHECKING:  # torch takes seconds, and some stages do without
    from eocontrast.evaluation.evaluate import Evaluation

SINGLE = "single"
"""The arm of a point that is none of the curve's."""


def point_name(header: Mapping[str, Any], arm: str) -> str:
    """Of its run, from the header of its weights."""
    # arms of the curve say by their names what they start from
    named = f"{arm} {header['init']}" if arm == SINGLE else arm
    return f"{named} {header['fraction']} {header['seed']}"


def point_params(header: Mapping[str, Any], arm: str) -> dict[str, object]:
    """What tells one point from another in MLflow's table, from the header of its weights."""
    choices = ("task", "head", "init", "fusion", "frozen", "lr", "modality_dropout", "recipe")
    keys = (*choices, "fraction", "seed", "n_labels")
    architecture = header["architecture"]["name"]
    inputs = "+".join(sensor for stream in STREAMS[header["fusion"]] for sensor in stream)
    own = {"arm": arm, "inputs": inputs, "backbone": architecture}
    return own | {key: header[key] for key in keys}


def scores_told(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """Metrics of a point's evaluations, the one with all sensors first; none that is not a number.

    Scores with all sensors are `test.<score>`, with one missing `test.<sensor>.<score>`; the
    task's own is `score` besides.
    """
    whole = evaluations[0]
    found = {f"test.{name}": value for name, value in whole.scores.items()}
    found[MAIN_METRIC] = shown(whole.scores[whole.task.metric])
    for alone in evaluations[1:]:
        found |= {f"test.{alone.inputs}.{name}": v for name, v in alone.scores.items()}
    for name, by_class in whole.by_class.items():
        found[f"test.recall.{_metric_name(name)}"] = by_class["recall"]
    return {name: value for name, value in found.items() if value == value}


def shown(score: float) -> float:
    """As many digits as MLflow's column has room for."""
    return round(score, 4)


def _metric_name(name: str) -> str:
    """MLflow refuses commas, ampersands and the like in names."""
    return re.sub(r"[^/\w.\- :]", "_", name)
