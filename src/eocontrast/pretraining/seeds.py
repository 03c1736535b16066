"""The trainings of one run of params.yaml, one per seed, with a weight file each."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path

from eocontrast.config.pretraining import BackboneParams, PretrainRun
from eocontrast.models.point_files import pretrained_file
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import pretrain_run, run_digest
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.runtime.parallel import parallel_map, workers_for_models
from eocontrast.training.checkpoint import Metrics
from eocontrast.training.devices import Precision, first_process
from eocontrast.training.ranks import ranks
from eocontrast.training.resuming import kept, kept_folder

SEEDS = "seeds.json"

Log = Callable[[Metrics], None]


@dataclass(frozen=True)
class Training:
    """One seed of a run.

    Attributes:
        title: Name of the run, with the seed if it is not the first.
        run: Its parameters, with this seed alone.
        backbone: Network that it trains.
        patches: Folder of the patch store.
        weights: File to write.
        precision: auto, bf16 or no.
    """

    title: str
    run: PretrainRun
    backbone: BackboneParams
    patches: Path
    weights: Path
    precision: Precision


Record = Callable[[Training, str, Path | None], AbstractContextManager[Log]]
"""Opens the record of a training, from the digest of its data and its checkpoint."""


def pretrain_seeds(
    name: str,
    run: PretrainRun,
    backbone: BackboneParams,
    patches: Path,
    weights: Path,
    precision: Precision,
    record: Record,
) -> None:
    """Train every seed of a run, and print its metrics every epoch.

    `weights` holds the first seed. The folder of the same name lists all seeds in seeds.json, and
    holds the others as SEED.safetensors. A training that was stopped continues.

    Args:
        name: Name of the run in params.yaml.
        run: Its parameters.
        backbone: Entry of `backbones` that it names.
        patches: Folder of the patch store.
        weights: File to write, `<name>.safetensors`.
        precision: auto, bf16 or no.
        record: Function of a module that opens a log of each training.

    Raises:
        UserError: the file has another name, or as in `pretrain_run`.
        CollapseError: as in `pretrain_run`.
    """
    if weights.name != f"{name}.safetensors":  # arms find weights by the name of their run
        raise UserError(f"weights of run {name} go to {name}.safetensors, not to {weights.name}")
    trainings = []
    for seed in run.seeds:
        file = pretrained_file(weights.parent, name, run.seeds, seed)
        title = name if seed == run.seeds[0] else f"{name}/{seed}"
        trainings.append(Training(title, run.alone(seed), backbone, patches, file, precision))
    calls = [(training, record) for training in trainings]
    first = first_process()  # joins the processes of a `torchrun`, which `ranks` counts
    # two seeds on a core each take 3/4 of the time of one after the other on two cores
    apart = len(calls) > 1 and ranks() == 1 and workers_for_models() is None
    deque(parallel_map(_train, calls) if apart else starmap(_train, calls), maxlen=0)
    if first:  # also where there is one seed: DVC warns of empty folders
        write_text(weights.parent / name / SEEDS, json.dumps(list(run.seeds)) + "\n")


def _train(training: Training, record: Record) -> None:
    run, backbone, precision = training.run, training.backbone, training.precision
    store = PatchStore(training.patches)
    digest = run_digest(run, backbone, store, precision)
    settings = run, backbone, store, training.weights, precision
    if not first_process():  # reads the checkpoint that the first one writes
        deque(pretrain_run(*settings, kept_folder() / digest), maxlen=0)
        return
    with kept(digest) as checkpoint, record(training, store.digest, checkpoint) as log:
        for metrics in pretrain_run(*settings, checkpoint):
            log(metrics)
            values = (f"{key} {value:.4g}" for key, value in metrics.items())
            print(training.title, *values, flush=True)
