"""Score one point, or every point of the curve and the ensembles, on the test regions.

python stages/evaluate.py single STORE SCORES PREDICTIONS MODELS
python stages/evaluate.py grid STORE SCORES_DIR PREDICTIONS_DIR MODELS_DIR
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

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
    # seconds that the grid does without
    from eocontrast.confusion_figure import draw_confusion
    from eocontrast.registry import register

    start, store = time.monotonic(), PatchStore(patches)
    (file,) = read_index(models)[0]
    (point,) = evaluated("single", store, [file])
    write_point(point, scores)
    write_predictions([point], predictions)
    made = provenance(hardware(), time.monotonic() - start)
    models.with_suffix(".md").write_text(finetuned_card(point, made))
    run = Tracker("evaluate").evaluated("single", file, point)
    with TemporaryDirectory() as folder:
        figure = Path(folder, "confusion.png")
        draw_confusion(point[0].confusion, point[0].header["classes"], figure)
        run.file(figure)
    registered = register(run, file, store)
    print(" ".join(f"{key} {value:.4f}" for key, value in point[0].scores.items()))
    print(f"in MLflow: {registered}")


def grid(patches: Path, scores: Path, predictions: Path, models: Path) -> None:
    store, curve, tracker = PatchStore(patches), load_params().label_curve, Tracker("evaluate")
    for name in (*curve.arms, *curve.ensembles):
        found = [read_index(models / curve.folder(member)) for member in curve.members(name)]
        points = evaluated(name, store, *(files for files, _ in found))
        if len(found) == 1:  # an ensemble has no run of its own to add to
            for file, evaluations in zip(found[0][0], points, strict=True):
                tracker.evaluated(name, file, evaluations)
        write_arm(name, points, left_out=found[0][1], path=scores / f"{name}.json")
        write_predictions(points, predictions / f"{name}.parquet")


def evaluated(name: str, store: PatchStore, *members: list[Path]) -> list[list[Evaluation]]:
    files = list(zip(*members, strict=True))
    scored = evaluate(files, store, accelerator(load_params().precision))
    return list(tqdm(scored, f"evaluate {name}", len(files), disable=None))


if __name__ == "__main__":
    with stage("evaluate"):
        {"single": single, "grid": grid}[sys.argv[1]](*map(Path, sys.argv[2:]))
