"""Pretrain one cell, a (method, backbone), without labels; on several GPUs under `torchrun`."""

import sys
import time
from collections import deque
from pathlib import Path

from eocontrast.cards import pretrained_card
from eocontrast.cells import pretrain_cell
from eocontrast.devices import first_process, hardware
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.stage import stage
from eocontrast.tracking import Tracker, provenance
from eocontrast.weights import Pretrained


def main(name: str, patches: Path, weights: Path) -> None:
    start, params = time.monotonic(), load_params()
    run_params = params.pretrain.runs[name]
    store = PatchStore(patches)
    backbone = params.backbones[run_params.backbone]
    cell = (run_params, backbone, store, weights, params.precision, Path("checkpoints"))
    if not first_process():
        deque(pretrain_cell(*cell), maxlen=0)
        return
    described = {"init": name, **run_params.model_dump()}
    tags = {"data.digest": store.digest}
    with Tracker("pretrain").start(f"pretrain {name}", described, tags) as run:
        for metrics in pretrain_cell(*cell):
            run.log(metrics, step=int(metrics["epoch"]))
            print(" ".join(f"{key} {value:.4g}" for key, value in metrics.items()), flush=True)
        made = provenance(hardware(), time.monotonic() - start)
        card = weights.with_suffix(".md")
        card.write_text(pretrained_card(Pretrained.load(weights), made))
        run.file(card)


if __name__ == "__main__":
    with stage("pretrain"):
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
