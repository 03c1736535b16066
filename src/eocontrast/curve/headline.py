"""The few numbers of the curve that two revisions are compared by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def leading_arm(found: Mapping[str, Any]) -> str | None:
    """The pretrained arm that saves most labels; of equals the one that ends highest.

    Args:
        found: of one task, as `label_curve.summarise` leaves it.

    Returns:
        Its name; None where no arm is pretrained, or none is not.
    """
    savings, arms = found.get("label_saving_factor", {}), found["pretrained"]
    leader: str | None = max(
        savings, key=lambda arm: (savings[arm]["value"], arms[arm][-1]["value"]), default=None
    )
    return leader


def headline(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | str]]:
    """By task: labels alone against the leading pretrained arm, both on all labels.

    Args:
        summary: of every task, as `label_curve.summarise` leaves it.
    """
    return {task: _headline(found) for task, found in summary.items()}


def _headline(found: Mapping[str, Any]) -> dict[str, float | str]:
    told: dict[str, float | str] = {}
    metric, best, arm = found["metric"], found["best_supervised"], leading_arm(found)
    if best is not None:
        told |= {"labels_alone": best["arm"], f"labels_alone_{metric}": best["value"]}
    if arm is not None:
        saved = found["label_saving_factor"][arm]
        told |= {"pretrained": arm, f"pretrained_{metric}": found["pretrained"][arm][-1]["value"]}
        told |= {"label_saving_factor": saved["value"]}
        told |= {f"label_saving_{end}": saved[end] for end in ("low", "high")}
    return told
