"""Score the single run on the test regions, and register its model.

python stages/evaluate.py STORE SCORES PREDICTIONS MODELS
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from eocontrast.config.params import load_params
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.results import write_point, write_predictions
from eocontrast.models.point_files import read_index
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.cards import finetuned_card
from eocontrast.tracking.confusion import draw_confusion
from eocontrast.tracking.provenance import provenance
from eocontrast.tracking.registry import register
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import accelerator, hardware


def main(patches: Path, scores: Path, predictions: Path, models: Path) -> None:
    start, store, tracker = time.monotonic(), PatchStore(patches), Tracker("evaluate")
    (file,) = read_index(models)[0]
    ((point,),) = evaluate([[file]], store, accelerator(load_params().precision))
    write_point(point, scores)
    write_predictions([point], predictions)
    on = hardware()
    made = provenance(on, time.monotonic() - start)
    run = tracker.evaluated("single", file, point)
    run.text("card.md", finetuned_card(point, made))
    with TemporaryDirectory() as folder:
        figure = Path(folder, "confusion.png")
        draw_confusion(point[0].confusion, point[0].header["classes"], figure)
        run.file(figure)
    registered = register(run, file, store)
    tracker.ran("evaluate", on)
    print(" ".join(f"{key} {value:.4f}" for key, value in point[0].scores.items()))
    print(f"in MLflow: {registered}")


if __name__ == "__main__":
    run_stage("evaluate", main)
