"""Pretrain one cell, a (method, backbone), without labels; on several GPUs under `torchrun`."""

from collections import deque
from pathlib import Path

from eocontrast.runtime.stage import run_stage
from eocontrast.config.params import load_params
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import cell_digest, pretrain_cell
from eocontrast.runtime.errors import named
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import first_process, hardware
from eocontrast.training.resuming import kept, kept_folder


def main(name: str, patches: Path, weights: Path) -> None:
    params = load_params()
    run_params = named("pretrain.runs", name, params.pretrain.runs)
    backbone, store = params.backbones[run_params.backbone], PatchStore(patches)
    given = (run_params, backbone, store)
    digest = cell_digest(*given, params.precision)
    if not first_process():  # reads the checkpoint that the first one writes
        deque(pretrain_cell(*given, weights, params.precision, kept_folder() / digest), maxlen=0)
        return
    described, tags = {"init": name, **run_params.model_dump()}, {"data.digest": store.digest}
    tracker = Tracker("pretrain")
    with (
        kept(digest) as checkpoint,
        tracker.resume(f"pretrain@{name}", described, tags, checkpoint, hardware()) as run,
    ):
        cell = (*given, weights, params.precision, checkpoint)
        for metrics in pretrain_cell(*cell):
            run.log(metrics, step=int(metrics["epoch"]))
            print(" ".join(f"{key} {value:.4g}" for key, value in metrics.items()), flush=True)


if __name__ == "__main__":
    run_stage("pretrain", main)
