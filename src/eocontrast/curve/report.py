"""All that a run of the pipeline found, on one page that needs no network.

The page that DVC tracks is a function of tracked files, so that two clean runs give the same bytes.
Where things ran and how long they took differs: it is in a file of its own that the page shows
within itself, and in the copy of the page that goes to MLflow.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from eocontrast.curve.report_contents import Contents
from eocontrast.curve.report_times import NOTHING, Times, table_of

SECTIONS = {
    "headline": "Headline",
    "curve": "Curve",
    "classes": "Classes",
    "maps": "Maps",
    "embeddings": "Embeddings",
    "audit": "Audit",
    "ran": "What ran where, and how long",
    "model": "Model card",
}


@dataclass(frozen=True)
class Beside:
    """The file of times that the page shows within itself.

    Attributes:
        name: of the file, in the folder of the page.
        stages: rows of its table, which say how much room it needs.
    """

    name: str
    stages: int

    @property
    def height(self) -> float:
        """In rem: rows of 2.1, and the text around them on a phone."""
        return 2.1 * self.stages + 15


def render(contents: Contents, ran: Times | Beside) -> str:
    """The page as HTML; equal contents give equal bytes.

    Args:
        contents: what it tells.
        ran: what each stage took, or the file beside the page that tells that.
    """
    shown = {key: title for key, title in SECTIONS.items() if key != "model" or contents.card}
    template = _environment().get_template("report.html.jinja")
    return template.render(
        sections=list(shown.items()),
        data=contents.data,
        tasks=contents.tasks,
        per_class=contents.per_class,
        embeddings=contents.embeddings,
        audits=contents.audits,
        figures={name: _data_uri(png) for name, png in contents.figures.items()},
        card=_html(contents.card) if contents.card else "",
        ran=None if isinstance(ran, Beside) else table_of(ran),
        beside=ran,
    )


def render_times(times: Times) -> str:
    """The file that stands beside the page: what each stage took."""
    return _environment().get_template("report_runs.html.jinja").render(ran=table_of(times))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"score": _score, "interval": _interval, "factor": _factor}
    environment.filters["share"] = lambda value: 0 if _lacks(value) else value
    return environment


def _lacks(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _score(value: float | None) -> str:
    return NOTHING if value is None or _lacks(value) else f"{value:.3f}"


def _interval(point: Mapping[str, Any] | None) -> str:
    """Value and interval; a dash where an arm has no point at a fraction."""
    if point is None:
        return NOTHING
    return f"{_score(point['value'])} ({_score(point['low'])} to {_score(point['high'])})"


def _factor(saved: Mapping[str, Any]) -> str:
    """A label-saving factor; `at_least` where the fewest labels already reach the score."""
    value = f"{'at least ' if saved['at_least'] else ''}{saved['value']:.1f}"
    return f"{value} ({saved['low']:.1f} to {saved['high']:.1f})"


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _html(markdown: str) -> Markup:
    """A card as HTML: headings two levels lower, tables in boxes that scroll, tags escaped."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = _without_empty_heads(parser.parse(markdown))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + 2}"
    html = parser.renderer.render(tokens, parser.options, {})
    box = '<div class="scroll" role="region" aria-label="Table of the card" tabindex="0">\n<table>'
    # the parser escapes what HTML the Markdown holds
    return Markup(html.replace("<table>", box).replace("</table>", "</table>\n</div>"))  # nosec B704


def _without_empty_heads(tokens: list[Token]) -> list[Token]:
    """Markdown has no table without a head; HTML has."""
    kept: list[Token] = []
    for token in tokens:
        kept.append(token)
        if token.type == "thead_close":
            start = max(n for n, before in enumerate(kept) if before.type == "thead_open")
            if not any(before.content for before in kept[start:]):
                del kept[start:]
    return kept
