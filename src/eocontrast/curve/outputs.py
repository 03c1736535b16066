"""All files of the curve, written from the scores of its arms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from eocontrast.config.curve import LabelCurveParams
from eocontrast.config.params import Params
from eocontrast.curve.cards import pretrained_card
from eocontrast.curve.figure import draw_label_curve
from eocontrast.curve.headline import compared_arms, headline
from eocontrast.curve.label_curve import ArmCurve, arm_curves, summarise
from eocontrast.curve.maps import draw_maps
from eocontrast.curve.report import report
from eocontrast.curve.tables import per_class, plot_rows, tidy
from eocontrast.evaluation.results import ArmResult, read_arm
from eocontrast.models.weights import Pretrained
from eocontrast.runtime.files import write_text

LOGGED = ("label_curve.png", "qualitative.png", "summary.json", "per_class.csv", "report.html")
"""Files that MLflow keeps a copy of."""


def write_outputs(params: Params, metrics: Path, pretrained: Path) -> dict[str, ArmCurve]:
    """Write tables, figures, model cards and the report.

    Args:
        params: All parameters.
        metrics: Folder of the scores, to which everything is written.
        pretrained: Folder of the weights that arms start from.

    Returns:
        The curve of every arm and ensemble that has points.
    """
    arms = read_arms(params.label_curve, metrics)
    curves = arm_curves(arms, params.label_curve.bootstrap_samples)
    summary, classes = summarise(curves, params.label_curve.headline), per_class(arms)
    draw_figures(curves, summary, metrics)
    health = write_cards(params, curves, metrics, pretrained)
    write_tables(arms, classes, summary, metrics)
    sources = (params.data.pretrain, params.data.finetune)
    # after the figures, which the page holds
    page = report(summary, classes, health, sources, metrics)
    write_text(metrics / "report.html", page)
    return curves


def read_arms(curve: LabelCurveParams, metrics: Path) -> dict[str, ArmResult]:
    """Read the results of every arm and ensemble that has points."""
    scores, predictions = metrics / "arms", metrics / "predictions"
    names = (*curve.named_arms, *curve.ensembles)
    read = (read_arm(scores / f"{n}.json", predictions / f"{n}.parquet") for n in names)
    return {arm.name: arm for arm in read if arm is not None}


def draw_figures(curves: Mapping[str, ArmCurve], summary: Mapping[str, Any], metrics: Path) -> None:
    """Draw the curve with the headline's arms of each task, and the maps of a few test patches."""
    compared = {task: compared_arms(results) for task, results in summary.items()}
    draw_label_curve(curves, compared, metrics / "label_curve.png")
    draw_maps(metrics / "qualitative.npz", metrics / "qualitative.png")


def write_cards(
    params: Params, curves: Mapping[str, ArmCurve], metrics: Path, pretrained: Path
) -> dict[str, dict[str, Any]]:
    """Write a card per pretraining run, and return the facts that the report shows of each.

    The cards lie beside the scores, not beside the weights: DVC skips this stage if a repeated
    pretraining gives equal weights.
    """
    facts = {}
    for name in params.pretrain.inits:
        file = Pretrained.load(pretrained / f"{name}.safetensors")
        own = [curve for curve in curves.values() if curve.result.init == name]
        write_text(metrics / f"cards/{name}.md", pretrained_card(file, own))
        origin = {"method": file.method, "patches": file.patches, "epochs": file.run.get("epochs")}
        facts[name] = origin | file.health
    return facts


def write_tables(
    arms: Mapping[str, ArmResult], classes: pd.DataFrame, summary: Mapping[str, Any], metrics: Path
) -> None:
    """Write the scores of all points and classes, the summary, the headline and DVC's plot."""
    texts = {
        "label_curve.csv": tidy(arms).to_csv(index=False),
        "per_class.csv": classes.to_csv(index=False),
        "summary.json": json.dumps(summary, indent=1) + "\n",
        "headline.json": json.dumps(headline(summary), indent=1) + "\n",
        "plots.json": json.dumps(plot_rows(arms), indent=0) + "\n",
    }
    # small text: git keeps these, and compares them line by line
    for name, text in texts.items():
        write_text(metrics / name, text)
