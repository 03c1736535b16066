"""Try the same number of settings for every arm, on data that will not be reported.

Not part of the graph: run it in a second clone with another `sources.simulated.seed`, after
`dvc repro pretrain`, and carry what it finds over to params.yaml (docs/evaluation.md,
"How arms were tuned"). Arms are scored by the metric of their task.

python stages/tune.py PATCHES PRETRAINED OUT.csv [ARM ...]
"""

import sys
import tempfile
from pathlib import Path
from statistics import mean

import pandas as pd

from eocontrast.arms import Arm
from eocontrast.devices import accelerator
from eocontrast.evaluation import evaluate
from eocontrast.params import load_params
from eocontrast.patches import PatchStore
from eocontrast.points import Job, train_points
from eocontrast.stage import stage
from eocontrast.tasks import task_of

FROZEN = [(1e-3, 1.0), (3e-3, 1.0), (1e-2, 1.0), (3e-2, 1.0)]
SCRATCH = {
    "linear": [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0), (1e-2, 1.0)],
    "unet": [(1e-3, 1.0), (3e-3, 1.0), (1e-2, 1.0)],
    "swin_unet": [(3e-4, 1.0), (1e-3, 1.0), (3e-3, 1.0)],
}
FINETUNED = {
    "linear": [(1e-3, 1.0), (3e-3, 0.1), (1e-2, 0.03), (3e-2, 0.01)],
    "swin_unet": [(1e-3, 1.0), (1e-3, 0.3), (3e-3, 0.1)],
}
POINTS = [(fraction, seed) for fraction in (0.1, 1.0) for seed in (0,)]


def settings(arm: Arm, scratch: bool) -> list[Arm]:
    if arm.head == "knn":  # nothing is trained
        return [arm]
    tried = FROZEN if arm.frozen else (SCRATCH if scratch else FINETUNED)[arm.head]
    return [arm.model_copy(update={"lr": lr, "backbone_lr_scale": scale}) for lr, scale in tried]


def main(patches: Path, pretrained: Path, out: Path, names: list[str]) -> None:
    params = load_params()
    store, device, rows = PatchStore(patches), accelerator(params.precision), []
    for name in names or params.label_curve.arms:
        given, recipes = params.label_curve.arms[name], params.finetune.recipe
        scratch = params.pretrain.runs[given.init].method == "random"
        metric = task_of(given, recipes).metric
        for arm in settings(given, scratch):
            fixed = (name, patches, pretrained / f"{arm.init}.safetensors", arm, recipes)
            with tempfile.TemporaryDirectory() as temporary:
                jobs = [Job(*fixed, f, s, params.precision, Path(temporary)) for f, s in POINTS]
                files = [[trained.file] for trained in train_points(jobs)]
                found = [place[0][0] for place in evaluate(files, store, device)]
            scores = {
                f"score_{f:g}": mean(e.scores[metric] for e in found if e.header["fraction"] == f)
                for f in (0.1, 1.0)
            }
            setting = {"arm": name, "lr": arm.lr, "backbone_lr_scale": arm.backbone_lr_scale}
            rows.append({**setting, "metric": metric, **scores, "mean": mean(scores.values())})
            print(rows[-1], flush=True)
            pd.DataFrame(rows).round(4).to_csv(out, index=False)


if __name__ == "__main__":
    with stage("tune"):
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
