"""Score the single run on the test regions, and register its model.

python stages/evaluate.py STORE SCORES PREDICTIONS MODELS
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

from eocontrast.stage import run_stage
from eocontrast.cards import finetuned_card
from eocontrast.confusion_figure import draw_confusion
from eocontrast.devices import accelerator, hardware
from eocontrast.disk import write_text
from eocontrast.evaluation import evaluate
from eocontrast.origin import provenance
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import read_index
from eocontrast.registry import register
from eocontrast.results import write_point, write_predictions
from eocontrast.tracking import Tracker


def main(patches: Path, scores: Path, predictions: Path, models: Path) -> None:
    start, store, tracker = time.monotonic(), PatchStore(patches), Tracker("evaluate")
    (file,) = read_index(models)[0]
    ((point,),) = evaluate([[file]], store, accelerator(load_params().precision))
    write_point(point, scores)
    write_predictions([point], predictions)
    on = hardware()
    made = provenance(on, time.monotonic() - start)
    card = finetuned_card(point, made)
    write_text(models.with_suffix(".md"), card)
    run = tracker.evaluated("single", file, point)
    run.text("card.md", card)
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
