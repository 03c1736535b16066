"""Fine-tune the single run, or every point of the arms that start from the same weights.

python stages/finetune.py {single | INIT} STORE PRETRAINED OUT
"""

from contextlib import closing
from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.finetuning.folders import train_folders
from eocontrast.models.point_files import SINGLE
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.points import log_trained
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import hardware


def main(name: str, store: Path, pretrained: Path, out: Path) -> None:
    params, tracker = load_params(), Tracker("finetune")
    with closing(train_folders(name, params, store, pretrained, out)) as points:
        runs = [log_trained(tracker, trained) for trained in points]
    if name == SINGLE:
        tracker.ran("finetune", hardware(), parent=runs[0])
    else:
        tracker.ran(f"finetune_grid@{name}", hardware(), points=runs)


if __name__ == "__main__":
    run_stage("finetune", main)
