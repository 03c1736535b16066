"""Pretrain the backbones of one run without labels; on several GPUs under `torchrun`.

python stages/pretrain.py RUN STORE PRETRAINED/RUN.safetensors
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.pretraining.seeds import Log, Training, pretrain_seeds
from eocontrast.runtime.errors import named
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import hardware


def main(name: str, patches: Path, weights: Path) -> None:
    params = load_params()
    run = named("pretrain.runs", name, params.pretrain.runs)
    backbone = params.backbones[run.backbone]
    pretrain_seeds(name, run, backbone, patches, weights, params.precision, recorded)


@contextmanager
def recorded(training: Training, data_digest: str, checkpoint: Path | None) -> Iterator[Log]:
    described = {"init": training.title, **training.run.model_dump()}
    name, tags = f"pretrain@{training.title}", {"data.digest": data_digest}
    with Tracker("pretrain").resume(name, described, tags, checkpoint, hardware()) as run:
        yield lambda metrics: run.log(metrics, step=int(metrics["epoch"]))


if __name__ == "__main__":
    run_stage("pretrain", main)
