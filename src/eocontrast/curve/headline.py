"""The few numbers of the curve that two revisions are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FRACTION = 0.1
"""Share of the labels at which pretrained arms are compared, as the papers' claim has it."""


def nearest(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the point of an arm whose fraction is nearest to `FRACTION`, the larger on ties."""
    return min(points, key=lambda p: (abs(p.get("fraction", 1.0) - FRACTION), -p["value"]))


def leading_arm(task: Mapping[str, Any]) -> str | None:
    """Return the pretrained arm with the best score at 10 % of the labels.

    Args:
        task: results of one task, as `label_curve.summarise` returns them.

    Returns:
        The arm's name; None if no arm is pretrained, or none is supervised.
    """
    arms = task["pretrained"]
    rivals = [name for name in task.get("label_saving_factor", {}) if name in arms]
    return max(rivals, key=lambda name: nearest(arms[name])["value"], default=None)


def headline(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | str]]:
    """Compare by task the leading arm at 10 % with the best supervised arm at all labels.

    Args:
        summary: results by task, as `label_curve.summarise` returns them.
    """
    return {name: _numbers(task) for name, task in summary.items()}


def _numbers(task: Mapping[str, Any]) -> dict[str, float | str]:
    numbers: dict[str, float | str] = {}
    metric, best, arm = task["metric"], task["best_supervised"], leading_arm(task)
    if best is not None:
        numbers |= {"supervised": best["arm"], f"supervised_{metric}": best["value"]}
    if arm is not None:
        factor = task["label_saving_factor"][arm]
        numbers["pretrained"] = arm
        numbers[f"pretrained_{metric}"] = nearest(task["pretrained"][arm])["value"]
        numbers |= {"label_saving_factor": factor["value"]}
        numbers |= {f"label_saving_{end}": factor[end] for end in ("low", "high")}
    return numbers
