"""Pretrain the backbones of one run without labels; on several GPUs under `torchrun`.

python stages/pretrain.py RUN STORE PRETRAINED/RUN.safetensors

The file holds the first of the run's seeds. PRETRAINED/RUN lists all in seeds.json, and holds the
others as SEED.safetensors.
"""

import json
from collections import deque
from functools import partial
from itertools import starmap
from pathlib import Path

from eocontrast.config.params import Params, load_params
from eocontrast.config.pretraining import PretrainRun
from eocontrast.models.point_files import pretrained_file
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import pretrain_run, run_digest
from eocontrast.runtime.errors import UserError, named
from eocontrast.runtime.files import write_text
from eocontrast.runtime.parallel import parallel_map, workers_for_models
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import first_process, hardware
from eocontrast.training.ranks import ranks
from eocontrast.training.resuming import kept, kept_folder

SEEDS = "seeds.json"


def main(name: str, patches: Path, weights: Path) -> None:
    params = load_params()
    run = named("pretrain.runs", name, params.pretrain.runs)
    if weights.name != f"{name}.safetensors":  # arms find weights by the name of their run
        raise UserError(f"weights of run {name} go to {name}.safetensors, not to {weights.name}")
    calls = []
    for seed in run.seeds:
        file = pretrained_file(weights.parent, name, run.seeds, seed)
        title = name if seed == run.seeds[0] else f"{name}/{seed}"
        calls.append((title, params, run.alone(seed), patches, file))
    # two seeds on a core each take 3/4 of the time of one after the other on two cores
    apart = len(calls) > 1 and ranks() == 1 and workers_for_models() is None
    deque(parallel_map(_pretrain, calls) if apart else starmap(_pretrain, calls), maxlen=0)
    if first_process():  # also where there is one seed: DVC warns of empty folders
        write_text(weights.parent / name / SEEDS, json.dumps(list(run.seeds)) + "\n")


def _pretrain(name: str, params: Params, run: PretrainRun, patches: Path, weights: Path) -> None:
    backbone, store = params.backbones[run.backbone], PatchStore(patches)
    digest = run_digest(run, backbone, store, params.precision)
    train = partial(pretrain_run, run, backbone, store, weights, params.precision)
    if not first_process():  # reads the checkpoint that the first one writes
        deque(train(kept_folder() / digest), maxlen=0)
        return
    described, tags = {"init": name, **run.model_dump()}, {"data.digest": store.digest}
    tracker = Tracker("pretrain")
    with (
        kept(digest) as checkpoint,
        tracker.resume(f"pretrain@{name}", described, tags, checkpoint, hardware()) as tracked,
    ):
        for metrics in train(checkpoint):
            tracked.log(metrics, step=int(metrics["epoch"]))
            print(name, *(f"{key} {value:.4g}" for key, value in metrics.items()), flush=True)


if __name__ == "__main__":
    run_stage("pretrain", main)
