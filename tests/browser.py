"""A headless Chromium, as tests see pages with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

WIDTHS = {"phone": 390, "desktop": 1440}
SCREENSHOTS = "EOCONTRAST_SCREENSHOTS"
"""Names a folder where screenshots are kept."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; without one the test is skipped, and fails in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        missing = "no chromium is installed: apt-get install chromium"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        # root in a container has no sandbox, and /dev/shm is small there
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        # it starts in a second, on a busy machine in many
        browser = playwright.chromium.launch(executable_path=found, args=options, timeout=180_000)
        yield browser
        browser.close()


def screenshot(page: Page, name: str, whole: bool = False) -> None:
    """Keep what is seen, where the environment names a folder for it."""
    if folder := os.environ.get(SCREENSHOTS):
        page.screenshot(path=Path(folder, f"{name}.png"), full_page=whole)
