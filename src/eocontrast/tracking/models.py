"""Records of scored models: scores and card of each, and the single run in the registry."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from eocontrast.evaluation.grid import Scored
from eocontrast.patches.store import PatchStore
from eocontrast.tracking.cards import finetuned_card
from eocontrast.tracking.confusion import draw_confusion
from eocontrast.tracking.points import log_scored
from eocontrast.tracking.provenance import provenance
from eocontrast.tracking.registry import register
from eocontrast.tracking.runs import Run
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import hardware


def record(tracker: Tracker, scored: Scored, seconds: float) -> Run:
    """Log the test scores and the card of a model.

    Args:
        tracker: MLflow experiment.
        scored: Arm, weights and evaluations of the model.
        seconds: Time that the evaluation took.
    """
    run = log_scored(tracker, scored)
    # with the run, not beside the weights: commit and date must not change what DVC hashes
    run.text("card.md", finetuned_card(scored[2], provenance(hardware(), seconds)))
    return run


def record_single(
    tracker: Tracker, scored: Scored, store: PatchStore, seconds: float
) -> tuple[Run, str]:
    """Log the single run with its confusion figure; return it and its URI in the registry."""
    run, (arm, file, (evaluation, *_)) = record(tracker, scored, seconds), scored
    # MLflow copies files only, and no output of the stage may hold the figure
    with TemporaryDirectory() as folder:
        figure = Path(folder, "confusion.png")
        draw_confusion(evaluation.confusion, evaluation.spec.classes, figure)
        run.file(figure)
    return run, register(run, arm, file, store)
