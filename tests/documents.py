"""The commands and code of the pages, as a reader would copy them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in sorted(ROOT.glob("docs/*.md"))),
)


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    text = (ROOT / page).read_text()
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """Every line of the page's indented blocks, without comments, that is a command."""
    # those of a numbered step are indented by three more
    lines = re.findall(r"(?<=\n) {4}(?: {3})?(\S.*)", prose(page))
    found = [re.sub(r"\s+# .*", "", line) for line in lines]
    return [line for line in found if "->" not in line]  # the picture of the stages


def command(page: str, part: str) -> str:
    """The one command of a page that holds `part`."""
    (found,) = [line for line in commands(page) if part in line]
    return found


def fenced(page: str, language: str) -> list[str]:
    """The page's fenced blocks of a language."""
    text = (ROOT / page).read_text()
    return [str(b) for b in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)]
