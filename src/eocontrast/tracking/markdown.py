"""Pieces of a model card in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence


def section(heading: str, body: str) -> str:
    """A section, or nothing where its body is empty."""
    return f"## {heading}\n\n{body}" if body else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, or nothing where there are no rows."""
    if not rows:
        return ""
    return "\n".join(map(_row, (columns, ["---"] * len(columns), *rows)))


def plain(value: object) -> str:
    """A text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _row(cells: Iterable[str]) -> str:
    escaped = (" ".join(cell.split()).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"
