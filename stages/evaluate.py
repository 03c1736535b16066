"""Score one point, or every point of the curve and the ensembles, on the test regions.

python stages/evaluate.py single STORE SCORES PREDICTIONS MODELS
python stages/evaluate.py grid STORE SCORES_DIR PREDICTIONS_DIR MODELS_DIR
"""

import sys
import time
from pathlib import Path

from tqdm import tqdm

from eocontrast.cards import finetuned_card
from eocontrast.devices import accelerator, hardware
from eocontrast.evaluation import Evaluation, evaluate
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import read_index
from eocontrast.results import write_arm, write_point, write_predictions
from eocontrast.stage import stage
from eocontrast.tracking import Tracker, provenance


def single(patches: Path, scores: Path, predictions: Path, models: Path) -> None:
    start = time.monotonic()
    (point,) = evaluated(("single",), PatchStore(patches), read_index(models)[0])["single"]
    write_point(point, scores)
    write_predictions([point], predictions)
    made = provenance(hardware(), time.monotonic() - start)
    models.with_suffix(".md").write_text(finetuned_card(point, made))
    print(" ".join(f"{key} {value:.4f}" for key, value in point[0].scores.items()))


def grid(patches: Path, scores: Path, predictions: Path, models: Path) -> None:
    store, curve = PatchStore(patches), load_params().label_curve
    for names in curve.scored_together:
        found = [read_index(models / curve.folder(arm)) for arm in names if arm in curve.arms]
        for name, points in evaluated(names, store, *(files for files, _ in found)).items():
            write_arm(name, points, left_out=found[0][1], path=scores / f"{name}.json")
            write_predictions(points, predictions / f"{name}.parquet")


def evaluated(
    names: tuple[str, ...], store: PatchStore, *arms: list[Path]
) -> dict[str, list[list[Evaluation]]]:
    files = list(zip(*arms, strict=True))
    scored = evaluate(files, store, accelerator(load_params().precision))
    places = list(tqdm(scored, f"evaluate {' and '.join(names)}", len(files), disable=None))
    tracker = Tracker("evaluate")
    for place, members in zip(places, files, strict=True):
        for name, file, evaluations in zip(names, members, place, strict=False):
            tracker.evaluated(name, file, evaluations)  # an ensemble has no run of its own
    return dict(zip(names, map(list, zip(*places, strict=True)), strict=True))


if __name__ == "__main__":
    with stage("evaluate"):
        {"single": single, "grid": grid}[sys.argv[1]](*map(Path, sys.argv[2:]))
