"""Fine-tune one point, or every point of one arm of the curve.

python stages/finetune.py {single | ARM} STORE INIT OUT
"""

import sys
from pathlib import Path

from tqdm import tqdm

from eocontrast.budgets import unusable
from eocontrast.params import Arm, load_params
from eocontrast.patches import PatchStore
from eocontrast.points import Job, train_points, write_index
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def main(name: str, store: Path, init: Path, out: Path) -> None:
    params = load_params()
    single, curve = params.finetune, params.label_curve
    arm: Arm = single.arm() if name == "single" else curve.arms[name]
    left_out = {} if name == "single" else unusable(PatchStore(store), arm, curve.fractions)
    points = [(f, s) for f in curve.fractions for s in curve.seeds if str(f) not in left_out]
    if name == "single":
        points = [(single.fraction, single.seed)]
    jobs = [Job(store, init, arm, single.recipe, *point, params.precision, out) for point in points]
    tracker = Tracker("finetune")
    for trained in tqdm(train_points(jobs), f"finetune {name}", len(jobs), disable=None):
        tracker.finetuned(name, trained)
    write_index(out, [job.file.name for job in jobs], left_out)
    for reason in left_out.values():
        print(f"left out: {reason}")


if __name__ == "__main__":
    with stage("finetune"):
        main(sys.argv[1], *map(Path, sys.argv[2:]))
