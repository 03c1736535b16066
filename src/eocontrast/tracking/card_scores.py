"""Scores of the label curve in the cards of the weights that arms started from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eocontrast.curve.headline import leading_arm
from eocontrast.curve.label_curve import ArmCurve
from eocontrast.models.weights import Pretrained
from eocontrast.runtime.files import write_text
from eocontrast.tracking.cards import pretrained_card
from eocontrast.tracking.markdown import plain, table

SCORES = "## Scores on the label curve"

_COLUMNS = ("arm", "task", "metric", "fraction", "labels", "value", "95 % interval")


def with_scores(card: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The card with a table of scores, in the place of one that it has already.

    Args:
        card: Markdown.
        rows: `arm, task, metric, fraction, labels, value`, and `low` and `high` of the interval.
            Without any, the section is left out.
    """
    before, found, rest = card.partition(f"{SCORES}\n")
    following = re.search(r"^## ", rest, re.MULTILINE) if found else None
    after = rest[following.start() :] if following else ""
    section = f"{SCORES}\n\n{table(_COLUMNS, [_score(row) for row in rows])}" if rows else ""
    kept = (part.strip() for part in (before, section, after))
    return "\n\n".join(part for part in kept if part) + "\n"


def add_scores(folder: Path, curves: Mapping[str, ArmCurve]) -> None:
    """Put the scores of every arm into the card of the weights that it started from.

    Args:
        folder: of pretrained weights; a card that is not there is not made up.
        curves: of the arms, by name.
    """
    for card in sorted(folder.glob("*.md")):
        own = [curve for curve in curves.values() if curve.result.init == card.stem]
        write_text(card, with_scores(card.read_text(), [row for c in own for row in _rows(c)]))


def _rows(curve: ArmCurve) -> list[dict[str, Any]]:
    arm = curve.result
    named = {"arm": arm.name, "task": arm.task, "metric": arm.metric}
    points = zip(curve.fractions, curve.n_labels, curve.intervals, strict=True)
    return [
        {**named, "fraction": fraction, "labels": int(n), **asdict(interval)}
        for fraction, n, interval in points
    ]


def _score(row: Mapping[str, Any]) -> tuple[str, ...]:
    named = [plain(row[name]) for name in ("arm", "task", "metric", "fraction", "labels")]
    interval = f"{row['low']:.3f} to {row['high']:.3f}"
    return (*named, f"{row['value']:.3f}", interval)


def leading_card(summary: Mapping[str, Any], folder: Path, inits: Mapping[str, str]) -> str:
    """Write the card of the backbones under the leading arm of the first task that has one.

    Provenance is left out: the card is an output of a stage, and times and machines vary.

    Args:
        summary: results by task, as `label_curve.summarise` returns them.
        folder: folder of the pretrained weights.
        inits: name of the pretraining of every arm.

    Returns:
        Markdown; empty if no arm is pretrained.
    """
    leaders = (leading_arm(found) or "" for found in summary.values())
    init = next((inits[arm] for arm in leaders if arm in inits), None)
    if init is None:
        return ""
    rows = [
        {"arm": arm, "task": task, "metric": found["metric"], "labels": p["n_labels"], **p}
        for task, found in summary.items()
        for arm, points in found["pretrained"].items()
        for p in points
        if inits.get(arm) == init
    ]
    return with_scores(pretrained_card(Pretrained.load(folder / f"{init}.safetensors"), {}), rows)
