"""Score fine-tuned models on the test regions.

python stages/evaluate.py {single | grid} STORE MODELS METRICS
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from tqdm import tqdm

from eocontrast.config.params import Params, load_params
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.qualitative import write_maps
from eocontrast.evaluation.results import write_arm, write_point, write_predictions
from eocontrast.models.point_files import point_file, read_index
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.cards import finetuned_card
from eocontrast.tracking.confusion import draw_confusion
from eocontrast.tracking.provenance import provenance
from eocontrast.tracking.registry import register
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import accelerator, hardware


def main(what: Literal["single", "grid"], patches: Path, models: Path, metrics: Path) -> None:
    params, store, tracker = load_params(), PatchStore(patches), Tracker("evaluate")
    if what == "single":
        _evaluate_single(params, store, models, metrics, tracker)
    else:
        _evaluate_grid(params, store, models, metrics, tracker)
    tracker.ran("evaluate" if what == "single" else "evaluate_grid", hardware())


def _evaluate_single(
    params: Params, store: PatchStore, models: Path, metrics: Path, tracker: Tracker
) -> None:
    start = time.monotonic()
    (file,) = read_index(models)[0]
    ((point,),) = evaluate([[file]], store, accelerator(params.precision))
    write_point(point, metrics / "test.json")
    write_predictions([point], metrics / "test_predictions.parquet")
    run = tracker.evaluated("single", file, point)
    made = provenance(hardware(), time.monotonic() - start)
    run.text("card.md", finetuned_card(point, made))
    with TemporaryDirectory() as folder:
        figure = Path(folder, "confusion.png")
        draw_confusion(point[0].confusion, point[0].spec.classes, figure)
        run.file(figure)
    registered = register(run, file, store)
    print(" ".join(f"{key} {value:.4f}" for key, value in point[0].scores.items()))
    print(f"in MLflow: {registered}")


def _evaluate_grid(
    params: Params, store: PatchStore, models: Path, metrics: Path, tracker: Tracker
) -> None:
    start, curve, device = time.monotonic(), params.label_curve, accelerator(params.precision)
    folders = {name: models / arm.init / name for name, arm in curve.named_arms.items()}
    for names in curve.scored_together:
        found = [read_index(folders[name]) for name in names if name in folders]
        files = list(zip(*(files for files, _ in found), strict=True))
        title = f"evaluate {' and '.join(names)}"
        scored = list(tqdm(evaluate(files, store, device), title, len(files), disable=None))
        made = provenance(hardware(), time.monotonic() - start)
        for members, point in zip(files, scored, strict=True):
            # an ensemble has no run of its own
            for name, file, evaluations in zip(names, members, point, strict=False):
                run = tracker.evaluated(name, file, evaluations)
                run.text("card.md", finetuned_card(evaluations, made))
        for number, name in enumerate(names):
            points = [point[number] for point in scored]
            scores, predictions = metrics / "arms", metrics / "predictions"
            written = (scores / f"{name}.json", predictions / f"{name}.parquet")
            write_arm(name, points, found[0][1], *written)
    shown = params.qualitative
    drawn = [point_file(folders[name], shown.fraction, shown.seed) for name in shown.arms]
    write_maps(drawn, store, shown.patches, device, metrics / "qualitative.npz")


if __name__ == "__main__":
    run_stage("evaluate", main)
