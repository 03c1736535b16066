"""Fetch published weights that params.yaml names, and join the sensors in one file.

python stages/published.py NAME PRETRAINED/NAME.safetensors

The folder PRETRAINED/NAME stays empty: it is for other seeds of a training.
"""

from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.published.catalogue import entry
from eocontrast.published.convert import joined
from eocontrast.runtime.errors import named
from eocontrast.runtime.stage import run_stage
from eocontrast.sources.download.weights import obtain
from eocontrast.tracking.tracker import Tracker


def main(name: str, weights: Path) -> None:
    run = named("pretrain.published", name, load_params().pretrain.published)
    (weights.parent / name).mkdir(parents=True, exist_ok=True)
    parts = [obtain(entry(each), run.sha256.get(each, "")) for each in run.names.values()]
    joined(parts).save(weights)
    described = {"init": name, "method": run.method, "weights": " ".join(run.names.values())}
    with Tracker("published").stage_run(f"published@{name}", described):
        pass


if __name__ == "__main__":
    run_stage("published", main)
