"""Fine-tune one point, or every point of one cell of the grid.

python stages/finetune.py {single | CELL} STORE INIT OUT
"""

from pathlib import Path

from tqdm import tqdm

from eocontrast.config.params import load_params
from eocontrast.finetuning.run import Job, points_digest, points_of, train_points
from eocontrast.models.point_files import write_index
from eocontrast.runtime.errors import named
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import hardware
from eocontrast.training.resuming import kept


def main(name: str, store: Path, init: Path, out: Path) -> None:
    params = load_params()
    run, curve = params.finetune, params.label_curve
    place = (run.fraction, run.seed, params.precision)
    if name == "single":
        jobs = [Job(name, store, init, params.single_arm, run.recipe, *place, out)]
        arms = {out: (jobs, dict[str, str]())}
    else:
        arms = {}
        for arm in named("label_curve.cells", name, curve.cells).arms:
            job = Job(arm, store, init, curve.arms[arm], run.recipe, *place, out / arm)
            arms[job.out] = points_of(job, curve)
        # most labels first: at the end no core waits long for another's last point
        jobs = sorted((job for of, _ in arms.values() for job in of), key=lambda j: -j.fraction)
    tracker = Tracker("finetune")
    with kept(points_digest(jobs)) as begun:
        for trained in tqdm(train_points(jobs, begun), f"finetune {name}", len(jobs), disable=None):
            tracker.finetuned(trained.arm, trained)
        for folder, (of_arm, left_out) in arms.items():
            write_index(folder, [job.file.name for job in of_arm], left_out)
            for reason in left_out.values():
                print(f"{folder.name}: left out: {reason}")
    stage = "finetune" if name == "single" else f"finetune_grid@{name}"
    tracker.ran(stage, hardware())


if __name__ == "__main__":
    run_stage("finetune", main)
