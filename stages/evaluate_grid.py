"""Score every point of the curve, and the ensembles, on the test regions.

python stages/evaluate_grid.py STORE SCORES_DIR PREDICTIONS_DIR MODELS_DIR
"""

import time
from pathlib import Path

from tqdm import tqdm

from eocontrast.config.params import load_params
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.results import write_arm
from eocontrast.models.point_files import read_index
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.cards import finetuned_card
from eocontrast.tracking.provenance import provenance
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import accelerator, hardware


def main(patches: Path, scores: Path, predictions: Path, models: Path) -> None:
    start, params = time.monotonic(), load_params()
    store, tracker = PatchStore(patches), Tracker("evaluate")
    curve, device = params.label_curve, accelerator(params.precision)
    on = hardware()
    for names in curve.scored_together:
        found = [read_index(models / curve.folder(arm)) for arm in names if arm in curve.arms]
        files = list(zip(*(files for files, _ in found), strict=True))
        what = f"evaluate {' and '.join(names)}"
        places = list(tqdm(evaluate(files, store, device), what, len(files), disable=None))
        made = provenance(on, time.monotonic() - start)
        for members, place in zip(files, places, strict=True):
            # an ensemble has no run of its own
            for name, file, evaluations in zip(names, members, place, strict=False):
                run = tracker.evaluated(name, file, evaluations)
                run.text("card.md", finetuned_card(evaluations, made))
        for number, name in enumerate(names):
            points = [place[number] for place in places]
            written = (scores / f"{name}.json", predictions / f"{name}.parquet")
            write_arm(name, points, found[0][1], *written)
    tracker.ran("evaluate_grid", on)


if __name__ == "__main__":
    run_stage("evaluate", main)
