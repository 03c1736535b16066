"""Gather all points into the curve: table, headline, per-class scores, figure, MLflow's overlay.

python stages/label_curve.py SCORES PREDICTIONS PRETRAINED OUT
"""

import json
from pathlib import Path

from eocontrast.runtime.stage import run_stage
from eocontrast.config.params import load_params
from eocontrast.curve.figure import draw_label_curve
from eocontrast.curve.headline import headline, leading_arm
from eocontrast.curve.label_curve import arm_curves, per_class, plot_rows, summarise, tidy
from eocontrast.evaluation.results import read_arm
from eocontrast.runtime.files import write_text
from eocontrast.tracking.card_scores import add_scores
from eocontrast.tracking.tracker import Tracker


def main(scores: Path, predictions: Path, pretrained: Path, out: Path) -> None:
    params = load_params().label_curve
    names = (*params.arms, *params.ensembles)
    read = (read_arm(scores / f"{n}.json", predictions / f"{n}.parquet") for n in names)
    arms = {arm.name: arm for arm in read if arm is not None}
    curves = arm_curves(arms, params.seeds, params.bootstrap_samples)
    summary = summarise(curves)
    told = {
        "label_curve.csv": tidy(arms).to_csv(index=False),
        "per_class.csv": per_class(arms).to_csv(index=False),
        "summary.json": json.dumps(summary, indent=1) + "\n",
        "headline.json": json.dumps(headline(summary), indent=1) + "\n",
        "plots.json": json.dumps(plot_rows(arms), indent=0) + "\n",
    }
    for name, text in told.items():
        write_text(out / name, text)
    leaders = {task: leading_arm(found) for task, found in summary.items()}
    draw_label_curve(curves, leaders, out / "label_curve.png")
    add_scores(pretrained, curves)
    tracker = Tracker("label_curve")
    tracker.curves(curves)
    with tracker.stage_run("label_curve", {"arms": len(curves)}) as run:
        for name in ("label_curve.png", "summary.json", "per_class.csv"):
            run.file(out / name)


if __name__ == "__main__":
    run_stage("label_curve", main)
