"""Fine-tune one point, or every point of one cell of the grid.

python stages/finetune.py {single | CELL} STORE INIT OUT
"""

import sys
from pathlib import Path

from tqdm import tqdm

from eocontrast.budgets import unusable
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import Job, train_points, write_index
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def single(store: Path, init: Path, out: Path) -> None:
    params = load_params()
    run = params.finetune
    point = (run.fraction, run.seed, params.precision, out)
    train([job := Job("single", store, init, run.arm(), run.recipe, *point)])
    write_index(out, [job.file.name], {})


def cell(name: str, store: Path, init: Path, out: Path) -> None:
    params = load_params()
    curve, opened, jobs, left_out = params.label_curve, PatchStore(store), {}, {}
    for arm in curve.cells[name].arms:
        left_out[arm] = unusable(opened, curve.arms[arm], curve.fractions)
        points = [
            (f, s) for f in curve.fractions for s in curve.seeds if str(f) not in left_out[arm]
        ]
        fixed = (arm, store, init, curve.arms[arm], params.finetune.recipe)
        jobs[arm] = [Job(*fixed, *point, params.precision, out / arm) for point in points]
    # most labels first: at the end no core waits long for another's last point
    train(sorted((job for of_arm in jobs.values() for job in of_arm), key=lambda j: -j.fraction))
    for arm, of_arm in jobs.items():
        write_index(out / arm, [job.file.name for job in of_arm], left_out[arm])
        for reason in left_out[arm].values():
            print(f"{arm}: left out: {reason}")


def train(jobs: list[Job]) -> None:
    tracker = Tracker("finetune")
    for trained in tqdm(train_points(jobs), "finetune", len(jobs), disable=None):
        tracker.finetuned(trained.arm, trained)


if __name__ == "__main__":
    with stage("finetune"):
        name, *paths = sys.argv[1], *map(Path, sys.argv[2:])
        single(*paths) if name == "single" else cell(name, *paths)
