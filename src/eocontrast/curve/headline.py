"""The headline of the curve, in numbers and in sentences."""

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


def answer(task: Mapping[str, Any]) -> list[str]:
    """Write the result of one task in sentences, the first of which is the answer.

    Args:
        task: results of one task, as `label_curve.summarise` returns them.

    Returns:
        Sentences with names of arms in backticks; none if `leading_arm` finds no arm.
    """
    arm, best = leading_arm(task), task["best_supervised"]
    if arm is None or best is None:
        return []
    points, gaps = task["pretrained"], task["difference_to_best_supervised"]
    point, gap, factor = nearest(points[arm]), nearest(gaps[arm]), task["label_saving_factor"][arm]
    share, most = f"{100 * point['fraction']:g} %", best["n_labels"] / points[arm][0]["n_labels"]
    sentences = [
        f"With {share} of the labels ({point['n_labels']} patches), `{arm}` reaches "
        f"{point['value']:.2f} {task['metric']}; the best supervised arm, `{best['arm']}`, reaches "
        f"{best['value']:.2f} with all {best['n_labels']} labels.",
        f"The difference is {gap['value']:+.3f}, with a 95 % interval from {gap['low']:+.3f} to "
        f"{gap['high']:+.3f}.",
        _verdict(gap),
        f"The label-saving factor is {factor['value']:.1f} ({factor['low']:.1f} to "
        f"{factor['high']:.1f}).",
        f"The largest that this curve can show is {most:.0f}.",
    ]
    tuned = arm.removesuffix("_frozen").removesuffix("_knn")
    if tuned != arm and tuned in points:
        score, gap = nearest(points[tuned]), nearest(gaps[tuned])
        sentences.append(
            f"Fine-tuned (`{tuned}`), the score at {share} is {score['value']:.2f} "
            f"({gap['value']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f})."
        )
    return sentences


def _verdict(gap: Mapping[str, float]) -> str:
    if gap["low"] > 0:
        return "The interval lies above zero: fewer labels give a better score."
    if gap["high"] < 0:
        return "The interval lies below zero: fewer labels give a worse score."
    return "The interval includes zero, so this run shows no sure difference."
