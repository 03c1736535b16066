"""Gather all points into the curve: table, headline, per-class recall, figure, MLflow's overlay.

python stages/label_curve.py SCORES PREDICTIONS OUT
"""

import json
import sys
from pathlib import Path

from eocontrast.figures import draw_label_curve
from eocontrast.label_curve import arm_curves, per_class, plot_rows, summarise, tidy
from eocontrast.params import load_params
from eocontrast.results import read_arm
from eocontrast.stage import stage
from eocontrast.tracking import Tracker


def main(scores: Path, predictions: Path, out: Path) -> None:
    params = load_params().label_curve
    read = (read_arm(scores / f"{n}.json", predictions / f"{n}.csv") for n in params.arms)
    arms = {arm.name: arm for arm in read if arm is not None}
    curves = arm_curves(arms, params.seeds, params.bootstrap_samples)
    summary = summarise(curves)
    table = tidy(arms)
    table.to_csv(out / "label_curve.csv", index=False)
    per_class(arms).to_csv(out / "per_class.csv", index=False)
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (out / "plots.json").write_text(json.dumps(plot_rows(table), indent=0) + "\n")
    draw_label_curve(curves, out / "label_curve.png")
    files = [out / name for name in ("label_curve.png", "summary.json", "per_class.csv")]
    Tracker("label_curve").curves(curves, files)


if __name__ == "__main__":
    with stage("label_curve"):
        main(*map(Path, sys.argv[1:]))
