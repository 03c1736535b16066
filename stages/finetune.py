"""Fine-tune the single run, or every point of the arms that start from the same weights.

python stages/finetune.py {single | INIT} STORE PRETRAINED OUT
"""

import sys
from pathlib import Path

from tqdm import tqdm

from eocontrast.config.params import load_params
from eocontrast.finetuning.folders import (
    most_labels_first,
    publish,
    stage_folders,
    without_interval,
)
from eocontrast.finetuning.points import points_digest
from eocontrast.finetuning.run import train_points
from eocontrast.models.point_files import SINGLE
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import hardware
from eocontrast.training.resuming import kept


def main(name: str, store: Path, pretrained: Path, out: Path) -> None:
    params, tracker = load_params(), Tracker("finetune")
    if name == SINGLE and (note := params.finetune.rates_note(params.label_curve.named_arms)):
        print(note, file=sys.stderr)
    folders = stage_folders(name, params, store, pretrained, out)
    for reason in without_interval(PatchStore(store), folders):
        print(f"no interval can be given: {reason}", file=sys.stderr, flush=True)
    jobs = most_labels_first(folders)
    with kept(points_digest(jobs)) as work:
        jobs = [job.moved(out, work or out) for job in jobs]
        shown = tqdm(train_points(jobs), f"finetune {name}", len(jobs), disable=None)
        runs = [tracker.finetuned(trained.arm, trained) for trained in shown]
        for folder in folders:
            publish(folder, out, work or out)
            for reason in folder.left_out.values():
                print(f"{folder.path.name}: left out: {reason}")
    if name == SINGLE:
        tracker.ran("finetune", hardware(), parent=runs[0])
    else:
        tracker.ran(f"finetune_grid@{name}", hardware(), points=runs)


if __name__ == "__main__":
    run_stage("finetune", main)
