"""Score one point, or every point of one arm of the curve, on the test split.

python stages/evaluate.py {single | ARM} MODELS STORE SCORES PREDICTIONS
"""

import sys
from pathlib import Path

from tqdm import tqdm

from eocontrast.devices import accelerator
from eocontrast.evaluation import evaluate
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import read_index
from eocontrast.results import write_arm, write_point, write_predictions
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def main(name: str, models: Path, patches: Path, scores: Path, predictions: Path) -> None:
    store, device = PatchStore(patches), accelerator(load_params().precision)
    tracker, found = Tracker("evaluate"), []
    files, left_out = read_index(models)
    for file in tqdm(files, f"evaluate {name}", disable=None):
        found.append(evaluate(file, store, device))
        tracker.evaluated(name, file, found[-1])
    if name == "single":
        write_point(found[0], scores)
        print(" ".join(f"{key} {value:.4f}" for key, value in found[0].scores.items()))
    else:
        write_arm(name, found, left_out, scores)
    write_predictions(found, predictions)


if __name__ == "__main__":
    with stage("evaluate"):
        main(sys.argv[1], *map(Path, sys.argv[2:]))
