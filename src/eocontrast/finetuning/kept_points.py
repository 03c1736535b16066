"""Finished points of a cell, kept until all are: a killed run does not train them again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256, whole, write_text

Histories = list[dict[str, float]]


def keep(place: Path, weights: Path, history: Histories) -> None:
    """Keep weights under a second name, which takes no room, and the metrics an epoch.

    Args:
        place: a path without suffix.
        weights: of the finished point, on the same disk.
        history: metrics an epoch.
    """
    again = _weights(place)
    again.unlink(missing_ok=True)
    os.link(weights, again)
    told = {"sha256": file_sha256(again), "history": history}
    # last: where this is, both are whole
    write_text(_told(place), json.dumps(told))


def take(place: Path, weights: Path) -> Histories | None:
    """Put kept weights where they belong; None where there are none, or they were damaged."""
    try:
        found = json.loads(_told(place).read_text())
        history: Histories = found["history"]
        damaged = file_sha256(_weights(place)) != found["sha256"]
    except (OSError, ValueError, LookupError, TypeError, UserError):
        return None
    if damaged:
        return None
    with whole(weights) as partial:
        os.link(_weights(place), partial)
    return history


def _weights(place: Path) -> Path:
    return place.with_name(f"{place.name}.safetensors")


def _told(place: Path) -> Path:
    return place.with_name(f"{place.name}.json")
