"""The report as a person sees it, on a phone and on a desk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import WIDTHS, chromium, screenshot
from playwright.sync_api import Browser, Page

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
def test_page_fits_without_network(
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
