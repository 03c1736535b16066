"""Put what all stages found on one page, and one that tells times and machines into MLflow.

python stages/report.py METRICS PRETRAINED OUT.html
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from eocontrast.disk import write_text
from eocontrast.params import load_params
from eocontrast.report import render
from eocontrast.report_contents import read_contents, where_it_ran
from eocontrast.stage import run_stage
from eocontrast.tracking import Tracker


def main(metrics: Path, pretrained: Path, out: Path) -> None:
    params = load_params()
    runs, sources = tuple(params.pretrain.runs), (params.data.pretrain, params.data.finetune)
    inits = {name: arm.init for name, arm in params.label_curve.arms.items()}
    contents = read_contents(metrics, pretrained, *sources, runs, inits)
    write_text(out, render(contents))
    with TemporaryDirectory() as folder:
        page = Path(folder, out.name)
        page.write_text(render(contents, where_it_ran(pretrained, runs)), encoding="utf-8")
        with Tracker("report").start("report", {}) as run:
            run.file(page)


if __name__ == "__main__":
    run_stage("report", main)
