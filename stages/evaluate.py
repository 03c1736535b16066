"""Score one point, or every point of the curve and the ensembles, on the test regions.

python stages/evaluate.py single STORE SCORES PREDICTIONS MODELS
python stages/evaluate.py grid STORE SCORES_DIR PREDICTIONS_DIR MODELS_DIR
"""

import sys
import time
from collections.abc import Sequence
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
    ((point,),) = scored_places(("single",), store, [[file]])
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
    for names in curve.scored_together:
        found = [read_index(models / curve.folder(arm)) for arm in names if arm in curve.arms]
        files = list(zip(*(files for files, _ in found), strict=True))
        places = scored_places(names, store, files)
        for members, place in zip(files, places, strict=True):
            # an ensemble has no run of its own
            for name, file, evaluations in zip(names, members, place, strict=False):
                tracker.evaluated(name, file, evaluations)
        for number, name in enumerate(names):
            points = [place[number] for place in places]
            write_arm(name, points, left_out=found[0][1], path=scores / f"{name}.json")
            write_predictions(points, predictions / f"{name}.parquet")


def scored_places(
    names: tuple[str, ...], store: PatchStore, files: Sequence[Sequence[Path]]
) -> list[list[list[Evaluation]]]:
    scored = evaluate(files, store, accelerator(load_params().precision))
    return list(tqdm(scored, f"evaluate {' and '.join(names)}", len(files), disable=None))


if __name__ == "__main__":
    with stage("evaluate"):
        {"single": single, "grid": grid}[sys.argv[1]](*map(Path, sys.argv[2:]))
