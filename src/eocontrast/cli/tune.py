"""Try the same number of settings for every arm and every pretraining.

Use a data set that you will not report, such as another simulated world.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from eocontrast.config.arms import Arm
from eocontrast.config.params import Params
from eocontrast.config.pretraining import ContrastiveRun
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.finetuning.points import Job, task_of
from eocontrast.finetuning.run import train_points
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import pretrain_run
from eocontrast.runtime.errors import named
from eocontrast.training.devices import accelerator

PRETRAINING = [(128, 1e-3), (128, 3e-3), (64, 1e-3), (64, 3e-3)]
"""Batch size, and learning rate."""

FROZEN = [(1e-3, 1.0), (3e-3, 1.0), (1e-2, 1.0), (3e-2, 1.0)]
"""Learning rate, and the factor for that of the backbones."""

SCRATCH = {
    "linear": [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0), (1e-2, 1.0)],
    "unet": [(1e-3, 1.0), (3e-3, 1.0), (1e-2, 1.0)],
    "upernet": [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0)],
    "swin_unet": [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0)],
}

FINETUNED = {
    # lower the backbones' share as the head's rate rises: their own is 3e-4 from the second on
    "linear": [(1e-3, 1.0), (3e-3, 0.1), (1e-2, 0.03), (3e-2, 0.01)],
    "unet": [(1e-3, 1.0), (3e-3, 1.0), (3e-3, 0.3)],
    "upernet": [(1e-3, 1.0), (1e-3, 0.3), (3e-3, 0.1)],
    "swin_unet": [(1e-3, 1.0), (1e-3, 0.3), (3e-3, 0.1)],
}

# try where the headline compares: 10 % of the labels against all of them
FRACTIONS, SEEDS = (0.1, 1.0), (0, 1, 2)
"""Every setting is scored at these points."""

Row = dict[str, Any]


def try_arms(
    params: Params, store: Path, pretrained: Path, names: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield the scores of every setting of every arm, or of the named ones.

    Args:
        params: All parameters.
        store: Folder of patches that will not be reported.
        pretrained: Folder of the inits.
        names: Names of arms; all if empty.

    Raises:
        UserError: there is no such arm.
    """
    for name in names or params.label_curve.named_arms:
        arm = named("the arms of label_curve", name, params.label_curve.named_arms)
        scratch = params.pretrain.inits[arm.init].method == "random"
        tried = FROZEN if arm.frozen else (SCRATCH if scratch else FINETUNED)[arm.head]
        if arm.head == "knn":  # nothing is trained
            tried = [(arm.lr, arm.backbone_lr_scale)]
        for lr, scale in tried:
            setting = {"lr": lr, "backbone_lr_scale": scale}
            changed = arm.model_copy(update=setting)
            init = pretrained / f"{arm.init}.safetensors"
            yield {"arm": name, **setting, **_scores(params, name, changed, store, init)}


def try_pretraining(params: Params, store: Path, names: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the scores of every setting of every pretraining, by its frozen arm.

    Args:
        params: All parameters.
        store: Folder of patches that will not be reported.
        names: Names of pretrainings; all with a frozen arm if empty.

    Raises:
        UserError: no frozen arm starts from one of them.
    """
    arms = params.label_curve.named_arms.items()
    probes = {arm.init: (name, arm) for name, arm in arms if arm.frozen and arm.head != "knn"}
    for init in names or probes:
        name, arm = named("the inits of frozen arms", init, probes)
        run = params.pretrain.inits[init]
        if not isinstance(run, ContrastiveRun):
            continue  # trained elsewhere
        for batch_size, lr in PRETRAINING:
            setting = {"batch_size": batch_size, "lr": lr}
            with tempfile.TemporaryDirectory() as temporary:
                file = Path(temporary, f"{init}.safetensors")
                backbone = params.backbones[run.backbone]
                given = (run.model_copy(update=setting), backbone, PatchStore(store), file)
                deque(pretrain_run(*given, params.precision), maxlen=0)
                scores = _scores(params, name, arm, store, file)
            yield {"init": init, **setting, "probe": name, **scores}


def _scores(params: Params, name: str, arm: Arm, store: Path, init: Path) -> Row:
    recipes, precision = params.finetune.recipe, params.precision
    patches, device = PatchStore(store), accelerator(precision)
    metric = task_of(arm, recipes).metric
    with tempfile.TemporaryDirectory() as temporary:
        points = [(fraction, seed) for fraction in FRACTIONS for seed in SEEDS]
        fixed = (name, store, init, arm, recipes)
        jobs = [Job(*fixed, *point, precision, Path(temporary)) for point in points]
        files = [[trained.file] for trained in train_points(jobs)]
        found = [place[0][0] for place in evaluate(files, patches, device)]
    scores = {
        f"score_{f:g}": mean(e.scores[metric] for e in found if e.spec.fraction == f)
        for f in FRACTIONS
    }
    return {"metric": metric, **scores, "mean": mean(scores.values())}
