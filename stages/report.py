"""Put what all stages found on one page, and what they took and ran on into a file beside it.

python stages/report.py METRICS PRETRAINED OUT.html CARD.md
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from eocontrast.runtime.stage import run_stage
from eocontrast.config.params import load_params
from eocontrast.curve.report import Beside, render, render_times
from eocontrast.curve.report_contents import read_contents
from eocontrast.curve.report_times import stage_names
from eocontrast.runtime.errors import readable
from eocontrast.runtime.files import write_text
from eocontrast.tracking.card_scores import leading_card
from eocontrast.tracking.tracker import Tracker


def main(metrics: Path, pretrained: Path, out: Path, card: Path) -> None:
    params, tracker = load_params(), Tracker("report")
    runs, sources = tuple(params.pretrain.runs), (params.data.pretrain, params.data.finetune)
    inits = {name: arm.init for name, arm in params.label_curve.arms.items()}
    with readable(f"{metrics / 'summary.json'} cannot be read", "run `dvc repro label_curve`"):
        summary = json.loads((metrics / "summary.json").read_text())
    contents = read_contents(
        metrics, pretrained, *sources, runs, leading_card(summary, pretrained, inits)
    )
    times = tracker.stage_times(stage_names(params))
    beside = out.with_name(f"{out.stem}_runs.html")
    write_text(out, render(contents, Beside(beside.name, len(times))))
    write_text(beside, render_times(times))
    write_text(card, contents.card or "No pretrained backbones save labels here.\n")
    with TemporaryDirectory() as folder, tracker.stage_run("report", {}) as run:
        page = Path(folder, out.name)
        page.write_text(render(contents, times), encoding="utf-8")
        run.file(page)


if __name__ == "__main__":
    run_stage("report", main)
