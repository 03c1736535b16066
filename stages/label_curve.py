"""Gather all points into the curve: table, headline, figures, model cards and the report.

python stages/label_curve.py METRICS PRETRAINED
"""

import json
from pathlib import Path

from eocontrast.config.params import load_params
from eocontrast.curve.cards import pretrained_card
from eocontrast.curve.figure import draw_label_curve
from eocontrast.curve.headline import headline, leading_arm
from eocontrast.curve.label_curve import arm_curves, per_class, plot_rows, summarise, tidy
from eocontrast.curve.maps import draw_maps
from eocontrast.curve.report import report
from eocontrast.evaluation.results import read_arm
from eocontrast.models.weights import Pretrained
from eocontrast.runtime.files import write_text
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker

LOGGED = ("label_curve.png", "qualitative.png", "summary.json", "per_class.csv", "report.html")
"""Files that MLflow keeps a copy of."""


def main(metrics: Path, pretrained: Path) -> None:
    params = load_params()
    curve, scores, predictions = params.label_curve, metrics / "arms", metrics / "predictions"
    names = (*curve.named_arms, *curve.ensembles)
    read = (read_arm(scores / f"{n}.json", predictions / f"{n}.parquet") for n in names)
    arms = {arm.name: arm for arm in read if arm is not None}
    curves = arm_curves(arms, curve.seeds, curve.bootstrap_samples)
    summary, classes = summarise(curves), per_class(arms)
    leaders = {task: leading_arm(results) for task, results in summary.items()}
    draw_label_curve(curves, leaders, metrics / "label_curve.png")
    draw_maps(metrics / "qualitative.npz", metrics / "qualitative.png")
    health = {}
    for name in params.pretrain.runs:
        file = Pretrained.load(pretrained / f"{name}.safetensors")
        own = [arm for arm in curves.values() if arm.result.init == name]
        write_text(metrics / f"cards/{name}.md", pretrained_card(file, own))
        facts = {"method": file.method, "patches": file.patches, "epochs": file.run.get("epochs")}
        health[name] = facts | file.health
    sources = (params.data.pretrain, params.data.finetune)
    texts = {
        "label_curve.csv": tidy(arms).to_csv(index=False),
        "per_class.csv": classes.to_csv(index=False),
        "summary.json": json.dumps(summary, indent=1) + "\n",
        "headline.json": json.dumps(headline(summary), indent=1) + "\n",
        "plots.json": json.dumps(plot_rows(arms), indent=0) + "\n",
        "report.html": report(summary, classes, health, sources, metrics),
    }
    for name, text in texts.items():
        write_text(metrics / name, text)
    tracker = Tracker("label_curve")
    tracker.curves(curves)
    with tracker.stage_run("label_curve", {"arms": len(curves)}) as run:
        for name in LOGGED:
            run.file(metrics / name)


if __name__ == "__main__":
    run_stage("label_curve", main)
