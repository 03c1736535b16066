"""Gather all points into the curve: table, headline, figures, model cards and the report.

python stages/label_curve.py METRICS PRETRAINED
"""

from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.curve.outputs import LOGGED, write_outputs
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.points import log_curves
from eocontrast.tracking.tracker import Tracker


def main(metrics: Path, pretrained: Path) -> None:
    params, tracker = load_params(), Tracker("label_curve")
    curves = write_outputs(params, metrics, pretrained)
    log_curves(tracker, curves)
    with tracker.stage_run("label_curve", {"arms": len(curves)}) as run:
        for name in LOGGED:
            run.file(metrics / name)


if __name__ == "__main__":
    run_stage("label_curve", main)
