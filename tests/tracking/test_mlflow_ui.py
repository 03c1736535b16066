"""Look at the pages of `mlflow ui` after `dvc repro` and three experiments."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import pytest
from browser import chromium, screenshot
from clones import CLASSIFIERS, ENVIRONMENT, Experiment
from documents import command
from playwright.sync_api import Locator, Page, expect
from servers import reserved_port

pytestmark = [pytest.mark.slow, pytest.mark.long]  # needs Chromium, and MLflow's pages change

COLUMNS = ("Source", "score", "arm", "fraction", "init", "inputs", "seed")


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
def server(clones: list[Path], experiments: list[Experiment]) -> Iterator[str]:
    """Address of the README's `mlflow ui` in the clone where the experiments ran."""
    assert len(experiments) == 3
    # no jobs are run here, and their runners take seconds to start
    environment = {**ENVIRONMENT, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    words = command("README.md", "mlflow ui").split()
    with reserved_port() as port:
        with (clones[0] / "ui.log").open("w") as log:
            process = subprocess.Popen(
                [*words, "--port", str(port), "--workers", "1"],
                cwd=clones[0],
                env=environment,
                stdout=log,
                stderr=log,
            )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_for(f"{address}/health", process)
            yield address
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def runs(server: str) -> Iterator[Page]:
    """The runs of the experiment, as one finds them from MLflow's first page."""
    with chromium() as browser, browser.new_context(viewport={"width": 1920, "height": 1000}) as c:
        c.set_default_timeout(120_000)  # for busy machines: nobody waits for nothing
        expect.set_options(timeout=120_000)
        page = c.new_page()
        page.goto(server)
        page.get_by_text("Model training", exact=True).click()
        page.get_by_role("link", name="eocontrast").first.click()
        expect(row(page, "evaluate_grid").first).to_be_visible()
        yield page


def row(page: Page, name: str) -> Locator:
    """Those of this name in the table of runs."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


@contextmanager
def view(runs: Page, link: str) -> Iterator[Page]:
    """The page that a link of the experiment's description opens."""
    with runs.expect_popup() as opened:
        runs.get_by_role("link", name=link).click()
    try:
        yield opened.value
    finally:
        opened.value.close()


def cells(page: Page, name: str) -> dict[str, str]:
    """What the table shows of the newest run of a name, by column."""
    number = row(page, name).first.get_attribute("row-id")
    found = page.locator(f'[row-id="{number}"] [col-id]').all()
    told = {str(cell.get_attribute("col-id")): cell.inner_text() for cell in found}
    return {column.replace("`", "").split(".", 1)[-1]: text for column, text in told.items()}


def main_score(scores: dict[str, float | str]) -> float:
    return float(scores["mIoU" if scores["task"] == "segmentation" else "AA"])


def names_of(experiments: list[Experiment]) -> list[str]:
    """As the runs of their points are called."""
    return [f"single {e.scores['init']} 0.1 0" for e in experiments]


def test_table_distinguishes_experiments(runs: Page, experiments: list[Experiment]) -> None:
    """Stage, arm, init, inputs, fraction, seed and score, and nothing was set for that."""
    with view(runs, "all runs") as page:
        for column in COLUMNS:
            header = page.get_by_role("columnheader", name=column, exact=True).first
            expect(header).to_be_in_viewport(ratio=0.5)
        screenshot(page, "mlflow_runs")
        shown = [cells(page, name) for name in names_of(experiments)]
    for one, scores in zip(shown, (e.scores for e in experiments), strict=True):
        assert (one["Source"], one["arm"], one["inputs"]) == ("finetune", "single", "s1+s2")
        assert (one["init"], one["fraction"], one["seed"]) == (scores["init"], "0.1", "0")
        assert float(one["score"]) == pytest.approx(main_score(scores), abs=1e-4)
        assert len(one["score"]) <= 6  # its column shows no more


def test_points_sorted_by_score(runs: Page, clones: list[Path]) -> None:
    curve = pd.read_csv(clones[0] / "metrics/label_curve.csv")
    best = curve.loc[curve["metric"].isin(["AA", "mIoU"]) & (curve["inputs"] == "s1+s2"), "value"]
    with view(runs, "the points of the label curve") as page:
        top = page.locator('[row-index="0"] [col-id="metrics.`score`"]')
        expect(top).to_be_visible()
        expect(row(page, "evaluate")).to_have_count(0)
        screenshot(page, "mlflow_points")
        shown = page.locator('[row-index] [col-id="metrics.`score`"]').all()
        scores = [float(cell.inner_text()) for cell in shown[:10]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(best.max(), abs=1e-4)


def test_curves_overlay_by_labels(runs: Page) -> None:
    with view(runs, "the curves over") as page:
        chart = page.get_by_test_id("experiment-view-compare-runs-card").first
        for text in (*(f"curve {arm} (AA)" for arm in CLASSIFIERS), "Step"):
            expect(chart.get_by_text(text, exact=True)).to_be_visible()
        lines = chart.locator("path.js-line")
        expect(lines.first).to_be_visible()
        ways = lines.evaluate_all("all => all.map(line => line.getAttribute('d'))")
        assert len(set(ways)) == len(CLASSIFIERS)  # colours are drawn by lot, and two may be alike
        assert chart.locator(".xtick text").all_text_contents()[-1] == "100"  # of 108 labels
        page.wait_for_timeout(2000)  # charts grow into their place
        screenshot(page, "mlflow_curves")


def test_comparison_of_experiments(runs: Page, experiments: list[Experiment]) -> None:
    """By the parameters that differ, and with the score among the first metrics."""
    with view(runs, "all runs") as page:
        for name in names_of(experiments):
            row(page, name).get_by_label("toggle row selection").check()
        compare = page.get_by_role("button", name="Compare")
        compare.or_(page.get_by_role("link", name="Compare")).click()
        expect(page.locator(".parcoords").get_by_text("init", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="score", exact=True)).to_be_visible()
        for name in names_of(experiments):
            expect(page.get_by_text(name, exact=True).first).to_be_visible()
        page.wait_for_timeout(1000)  # the plot grows into its place
        screenshot(page, "mlflow_compare")


def test_stages_view(runs: Page) -> None:
    with view(runs, "the stages") as page:
        shown = cells(page, "label_curve")
        screenshot(page, "mlflow_stages")
    assert float(shown["seconds"]) > 0
    assert " cores" in shown["hardware"]
    assert shown["torch"].startswith("2.")


FIGURES = {
    "label_curve.png": "label_curve",
    "qualitative.png": "qualitative",
    "confusion.png": "single mma 0.1 0",
}
"""The run that each is in."""


@pytest.mark.parametrize("figure", FIGURES)
def test_figure_artifacts_open(runs: Page, figure: str) -> None:
    with artifact(runs, FIGURES[figure], figure) as page:
        picture = page.locator("img[src^='blob:'], img[src*='get-artifact']").first
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 300
        screenshot(page, f"mlflow_{Path(figure).stem}")


@contextmanager
def artifact(runs: Page, run: str, name: str) -> Iterator[Page]:
    """A file of a run, opened by clicks from the table of all runs."""
    with view(runs, "all runs") as page:
        link = page.get_by_role("link", name=run, exact=True).first
        link.click()
        page.get_by_role("tab", name="Artifacts").click()
        page.get_by_text(name).first.click()
        yield page


def test_report_opens_among_artifacts(runs: Page) -> None:
    with artifact(runs, "label_curve", "report.html") as page:
        within = page.frame_locator("iframe")
        expect(within.get_by_role("heading", name="How many labels")).to_be_visible()
        screenshot(page, "mlflow_report")


def test_registry_lists_models(runs: Page, server: str) -> None:
    page = runs.context.new_page()
    page.goto(server)
    page.get_by_text("Model training", exact=True).click()
    page.get_by_role("link", name="Model registry").click()
    with suppress(Exception):  # MLflow's own word on what is new in its registry
        page.get_by_role("button", name="Try it now").click(timeout=5000)
    page.get_by_role("link", name="land-cover-single-label", exact=True).click()
    for version in ("Version 1", "Version 3"):  # of the repro, and of its last classifier
        expect(page.get_by_role("link", name=version)).to_be_visible()
    expect(page.get_by_text("mma, 11 labels")).to_be_visible()
    screenshot(page, "mlflow_registry")
    page.close()
