"""Score one point, every point of one arm of the curve, or of the ensemble of two arms.

python stages/evaluate.py {single | ARM | ENSEMBLE} STORE SCORES PREDICTIONS MODELS [MODELS]
"""

import sys
import time
from pathlib import Path

from tqdm import tqdm

from eocontrast.bootstrap import group_intervals
from eocontrast.cards import finetuned_card
from eocontrast.devices import accelerator, hardware
from eocontrast.evaluation import evaluate_ensemble, evaluate_points
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import read_index
from eocontrast.results import write_arm, write_confusion, write_point, write_predictions
from eocontrast.stage import stage
from eocontrast.tracking import Tracker, provenance


def main(name: str, patches: Path, scores: Path, predictions: Path, *models: Path) -> None:
    start = time.monotonic()
    store, device = PatchStore(patches), accelerator(load_params().precision)
    indices = [read_index(folder) for folder in models]
    members = list(zip(*(files for files, _ in indices), strict=True))
    if len(models) == 1:
        found = evaluate_points([file for (file,) in members], store, device)
    else:
        found = (evaluate_ensemble(files, store, device) for files in members)
    points = list(tqdm(found, f"evaluate {name}", len(members), disable=None))
    if name == "single":
        write_point(points[0], scores)
        write_confusion(points[0][0], scores.with_name("test_confusion.csv"))
        intervals = group_intervals(points[0][0].tally, points[0][0].task.exclusive, samples=1000)
        made = provenance(hardware(), time.monotonic() - start)
        models[0].with_suffix(".md").write_text(finetuned_card(points[0], intervals, made))
        print(" ".join(f"{key} {value:.4f}" for key, value in points[0][0].scores.items()))
    else:
        write_arm(name, points, indices[0][1], scores)
    write_predictions(points, predictions)
    if len(models) == 1:
        for (file,), evaluations in zip(members, points, strict=True):
            Tracker("evaluate").evaluated(name, file, evaluations)


if __name__ == "__main__":
    with stage("evaluate"):
        main(sys.argv[1], *map(Path, sys.argv[2:]))
