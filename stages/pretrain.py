"""Pretrain one cell, a (method, backbone), without labels."""

import sys
from pathlib import Path

from eocontrast.cells import pretrain_cell
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def main(name: str, patches: Path, weights: Path) -> None:
    params = load_params()
    run_params = params.pretrain.runs[name]
    store = PatchStore(patches)
    described = {"init": name, **run_params.model_dump()}
    tags = {"data.digest": store.digest}
    with Tracker("pretrain").start(f"pretrain {name}", described, tags) as run:
        backbone = params.backbones[run_params.backbone]
        cell = (run_params, backbone, store, weights, params.precision, Path("checkpoints"))
        for metrics in pretrain_cell(*cell):
            run.log(metrics, step=int(metrics["epoch"]))
            print(" ".join(f"{key} {value:.4g}" for key, value in metrics.items()), flush=True)


if __name__ == "__main__":
    with stage("pretrain"):
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
