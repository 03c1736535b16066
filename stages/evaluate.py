"""Score fine-tuned models on the test regions.

python stages/evaluate.py {single | grid} STORE MODELS METRICS
"""

import time
from pathlib import Path
from typing import Literal

from eocontrast.config.params import load_params
from eocontrast.evaluation.grid import evaluate_arms, evaluate_single, write_arms, write_examples
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.models import record, record_single
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import accelerator, hardware


def main(what: Literal["single", "grid"], patches: Path, models: Path, metrics: Path) -> None:
    params, tracker = load_params(), Tracker("evaluate")
    store = PatchStore(patches)
    start, device = time.monotonic(), accelerator(params.precision)
    if what == "single":
        scored = evaluate_single(models, store, device, metrics)
        run, registered = record_single(tracker, scored, store, time.monotonic() - start)
        print(" ".join(f"{key} {value:.4f}" for key, value in scored[2][0].scores.items()))
        print(f"in MLflow: {registered}")
        tracker.ran("evaluate", hardware(), parent=run.run_id)
    else:
        for arms in evaluate_arms(params.label_curve, models, store, device):
            for model in arms.models():
                record(tracker, model, time.monotonic() - start)
            write_arms(arms, metrics)
        write_examples(params, models, store, device, metrics)
        tracker.ran("evaluate_grid", hardware())


if __name__ == "__main__":
    run_stage("evaluate", main)
