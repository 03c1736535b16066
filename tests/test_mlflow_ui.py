"""What a person sees in `mlflow ui` after a run of the pipeline, without setting anything."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from browser import chromium, screenshot
from playwright.sync_api import Browser, Locator, Page, expect

from eocontrast.bootstrap import Interval
from eocontrast.evaluation import Evaluation
from eocontrast.label_curve import ArmCurve, ArmResult
from eocontrast.points import Trained
from eocontrast.tasks import TASKS, TaskName
from eocontrast.tracking import Tracker

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17 asks SQLAlchemy 2.1 for a loader strategy that 2.1 deprecates
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

POINTS = [("dual", "dual_simclr_resnet", f, s) for f in (0.1, 1.0) for s in (0, 1)]
POINTS += [("s2", "random_resnet", 0.1, 0)]

BEST_FIRST = ("dual 1.0 1", "dual 1.0 0", "dual 0.1 1")


def header(arm: str, init: str, fraction: float, seed: int) -> dict[str, object]:
    return {
        "architecture": {"name": "resnet10t", "options": {}},
        "task": "single_label",
        "head": "linear",
        "init": init,
        "fusion": "s2" if arm == "s2" else "late",
        "frozen": False,
        "fraction": fraction,
        "seed": seed,
        "lr": 1e-3,
        "modality_dropout": 0.0,
        "n_labels": round(864 * fraction),
        "recipe": {"epochs": 3},
        "data_digest": "abc",
    }


def score_of(fraction: float, seed: int) -> float:
    return 0.3 + 0.2 * fraction + 0.01 * seed


def write_points(folder: Path) -> None:
    """As `finetune` and `evaluate` do."""
    for arm, init, fraction, seed in POINTS:
        described = header(arm, init, fraction, seed)
        file = folder / f"{arm}-{fraction}-{seed}.safetensors"
        file.write_bytes(file.name.encode())
        history = [{"epoch": k, "loss": 1 / k} for k in (1, 2, 3)]
        Tracker("finetune").finetuned(arm, Trained(arm, file, described, history))
        scores = {"AA": score_of(fraction, seed), "OA": 0.4}
        task = TASKS["single_label"]
        inputs = "s2" if arm == "s2" else "s1+s2"
        whole = Evaluation(described, task, inputs, scores, {}, pd.DataFrame())
        Tracker("evaluate").evaluated(arm, file, [whole])


def write_curves(folder: Path) -> None:
    """As `label_curve` does, with two figures."""
    curves = {
        "dual": curve_of("dual", "single_label", (0.4, 0.5, 0.6)),
        "s2": curve_of("s2", "single_label", (0.2, 0.3, 0.5)),
        "unet": curve_of("unet", "segmentation", (0.1, 0.3, 0.4)),
    }
    figures = [folder / f"{name}.png" for name in ("label_curve", "qualitative")]
    for file in figures:
        figure, axes = plt.subplots(figsize=(4, 3))
        axes.plot([1, 2, 3])
        figure.savefig(file)
        plt.close(figure)
    Tracker("label_curve").curves(curves, figures)


def curve_of(name: str, task: TaskName, values: tuple[float, ...]) -> ArmCurve:
    result = ArmResult(
        name=name,
        task=task,
        metric=TASKS[task].metric,
        exclusive=True,
        init="dual_simclr_resnet",
        method="dual_simclr",
        head="linear",
        frozen=False,
        inputs="s1+s2",
        supervised=False,
        classes=("a",),
        points=pd.DataFrame(),
        by_class=pd.DataFrame(),
        groups=(),
        tallies={},
        left_out={},
    )
    bands = tuple(Interval(v, v - 0.1, v + 0.1) for v in values)
    return ArmCurve(result, (0.01, 0.1, 1.0), np.array([9.0, 86.0, 864.0]), bands, np.zeros((3, 1)))


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Until it answers: the server takes seconds to start, on a busy machine minutes."""
    until = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address).close()
            return
        time.sleep(0.5)
    pytest.fail(f"{address} does not answer; mlflow ui ended with {process.poll()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of `mlflow ui` on a store that the tracker wrote."""
    folder = tmp_path_factory.mktemp("ui")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("DVC_ROOT", raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        with Tracker("pretrain").start("pretrain mma", {"init": "mma", "epochs": 2}) as run:
            run.log_all(({"loss": 1 / k}, k) for k in (1, 2))
        write_points(folder)
        write_curves(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # no jobs are run here, and their runners take seconds to start
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = f"ui --backend-store-uri {uri} --port {port} --workers 1"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", *command.split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process)
        yield address
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def runs(server: str, browser: Browser) -> Iterator[Page]:
    """The runs of the experiment, as one finds them from MLflow's first page."""
    with browser.new_context(viewport={"width": 1920, "height": 1000}) as context:
        context.set_default_timeout(120_000)  # for busy machines: nobody waits for nothing
        expect.set_options(timeout=120_000)
        page = context.new_page()
        page.goto(server)
        page.get_by_text("Model training", exact=True).click()
        page.get_by_role("link", name="eocontrast").first.click()
        expect(row(page, "dual 1.0 1")).to_be_visible()
        yield page


def row(page: Page, name: str) -> Locator:
    """Of the table of runs."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def view(runs: Page, link: str) -> Page:
    """The page that a link of the experiment's description opens."""
    with runs.expect_popup() as opened:
        runs.get_by_role("link", name=link).click()
    return opened.value


def cells(page: Page, name: str) -> dict[str, str]:
    """What the table shows of a run, by column."""
    number = row(page, name).get_attribute("row-id")
    found = page.locator(f'[row-id="{number}"] [col-id]').all()
    return {str(cell.get_attribute("col-id")): cell.inner_text() for cell in found}


def test_the_table_tells_one_point_from_another(runs: Page) -> None:
    """Stage, arm, init, inputs, fraction, seed and score, and nothing was set for that."""
    page = view(runs, "all runs")
    for column in ("Source", "arm", "init", "inputs", "fraction", "seed", "test.score"):
        header = page.get_by_role("columnheader", name=column, exact=True).first
        expect(header).to_be_in_viewport(ratio=0.5)
    screenshot(page, "mlflow_runs")
    assert (
        cells(page, "dual 1.0 1").items()
        >= {
            "attributes.`Source`": "finetune",
            "params.`arm`": "dual",
            "params.`init`": "dual_simclr_resnet",
            "params.`inputs`": "s1+s2",
            "params.`fraction`": "1.0",
            "params.`seed`": "1",
            "metrics.`test.score`": "0.51",
        }.items()
    )
    assert cells(page, "s2 0.1 0")["params.`inputs`"] == "s2"
    assert cells(page, "pretrain mma")["attributes.`Source`"] == "pretrain"
    assert cells(page, "curve unet")["metrics.`test.score`"] == "0.4"


def test_points_come_best_first(runs: Page) -> None:
    page = view(runs, "the points of the label curve")
    expect(row(page, "dual 1.0 1")).to_be_visible()
    expect(row(page, "curve dual")).to_have_count(0)
    screenshot(page, "mlflow_points")
    shown = [row(page, name).get_attribute("row-index") for name in BEST_FIRST]
    assert shown == [str(number) for number in range(len(BEST_FIRST))]


def test_curves_lie_over_each_other_by_the_number_of_labels(runs: Page) -> None:
    page = view(runs, "the curves over")
    chart = page.get_by_test_id("experiment-view-compare-runs-card").first
    for text in ("curve dual (AA)", "curve s2 (AA)", "Step"):
        expect(chart.get_by_text(text, exact=True)).to_be_visible()
    lines = chart.locator("path.js-line")
    expect(lines.first).to_be_visible()
    assert len(set(lines.evaluate_all("all => all.map(line => line.style.stroke)"))) == 2
    page.wait_for_timeout(2000)  # charts grow into their place
    screenshot(page, "mlflow_curves")


def test_points_are_compared(runs: Page) -> None:
    for name in ("dual 1.0 1", "dual 0.1 1"):
        row(runs, name).get_by_label("toggle row selection").check()
    runs.get_by_role("button", name="Compare").or_(runs.get_by_role("link", name="Compare")).click()
    for text in ("fraction", "test.score", "dual 1.0 1", "dual 0.1 1"):
        expect(runs.get_by_text(text, exact=True).first).to_be_visible()
    screenshot(runs, "mlflow_compare")


@pytest.mark.parametrize("figure", ["label_curve.png", "qualitative.png"])
def test_figures_open_among_the_artifacts(runs: Page, figure: str) -> None:
    runs.get_by_role("link", name="label curve", exact=True).click()
    runs.get_by_role("tab", name="Artifacts").click()
    runs.get_by_text(figure).first.click()
    picture = runs.locator("img[src^='blob:'], img[src*='get-artifact']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100
    screenshot(runs, f"mlflow_{Path(figure).stem}")
