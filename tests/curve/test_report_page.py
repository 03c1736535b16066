"""The page of results as a person sees it, on a phone and on a desk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy

import pytest
from browser import WIDTHS, chromium, screenshot
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def blank(browser: Browser, width: int, scheme: str = "light") -> Iterator[Page]:
    """A page without a network."""
    with browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        offline=True,
    ) as context:
        yield context.new_page()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_the_page_shows_what_ran_where_and_how_long(
    browser: Browser, clones: list[Path], width: int, scheme: str
) -> None:
    """From the file beside it, all rows at once."""
    file = clones[1] / "metrics/report.html"
    with blank(browser, width, scheme) as page:
        page.goto(file.as_uri())
        page.get_by_role("link", name="What ran where, and how long").click()
        inner = next(frame for frame in page.frames if frame.url.endswith("_runs.html"))
        for stage in ("download@simulated", "label_curve"):
            expect(inner.get_by_role("rowheader", name=stage)).to_be_visible()
        expect(page.get_by_text("It is not there.")).to_be_hidden()
        root = "document.documentElement"
        assert inner.evaluate(f"{root}.scrollHeight <= {root}.clientHeight")
        assert page.evaluate(f"{root}.scrollWidth") <= width
        ground = "getComputedStyle(document.body).backgroundColor"
        assert inner.evaluate(ground) == page.evaluate(ground)
        section = page.locator("section[aria-labelledby=ran]")
        section.scroll_into_view_if_needed()
        screenshot(page, f"report_runs_{width}_{scheme}")


def test_without_that_file_the_page_says_where_times_are(
    browser: Browser, clones: list[Path], tmp_path: Path
) -> None:
    copy(clones[1] / "metrics/report.html", tmp_path)
    with blank(browser, WIDTHS["phone"]) as page:
        page.goto((tmp_path / "report.html").as_uri())
        expect(page.get_by_text("It is not there.")).to_be_visible()
        section = page.locator("section[aria-labelledby=ran]").bounding_box()
        assert section is not None
        assert section["height"] < 400  # no room is kept for what lacks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS.keys())
def test_the_page_fits_and_asks_nobody(
    browser: Browser, clones: list[Path], width: int, scheme: str
) -> None:
    with blank(browser, width, scheme) as page:
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
        page.on("console", lambda message: said.append(message.text))
        page.goto((clones[1] / "metrics/report.html").as_uri())
        assert set(asked) == {"file"}  # figures are data
        assert not said
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        assert len(widths) >= 2
        assert min(widths) > 100
        screenshot(page, f"report_{width}_{scheme}", whole=True)
