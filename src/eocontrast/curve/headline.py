"""The headline of the curve, in numbers and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eocontrast.config.headline import AUTO

FRACTION = 0.1
"""Share of the labels at which pretrained arms are compared, as the papers' claim has it."""


def nearest(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the point of an arm whose fraction is nearest to `FRACTION`, the larger on ties."""
    return min(points, key=lambda p: (abs(p.get("fraction", 1.0) - FRACTION), -p["value"]))


Compared = tuple[str | None, str | None]
"""Names of the supervised and the pretrained arm that a headline compares."""


def compared_arms(task: Mapping[str, Any]) -> Compared:
    """Return the arms of a task's headline, as far as there are any.

    Args:
        task: Results of one task, as `label_curve.summarise` returns them.
    """
    best = task["best_supervised"]
    return best and best["arm"], leading_arm(task)


def leading_arm(task: Mapping[str, Any]) -> str | None:
    """Return the pretrained arm of a task's headline.

    It is the arm that the parameters name. For `auto` it is the best at 10 % of the labels.

    Args:
        task: Results of one task, as `label_curve.summarise` returns them.

    Returns:
        The arm's name; None if there is no such arm, or none is supervised.
    """
    arms, chosen = task["pretrained"], task["chosen"]["pretrained"]
    rivals = [name for name in task.get("label_saving_factor", {}) if name in arms]
    if chosen != AUTO:
        return chosen if chosen in rivals else None
    return max(rivals, key=lambda name: nearest(arms[name])["value"], default=None)


def gap_at_same_labels(task: Mapping[str, Any], arm: str) -> Mapping[str, Any] | None:
    """Return the difference to the supervised arm on the labels at which `arm` is compared.

    It is None if the supervised arm has no point there.

    Args:
        task: Results of one task, as `label_curve.summarise` returns them.
        arm: Name of a pretrained arm.
    """
    fraction = nearest(task["pretrained"][arm])["fraction"]
    gaps = task["difference_at_same_labels"][arm]
    return next((gap for gap in gaps if gap["fraction"] == fraction), None)


def headline(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Compare by task the pretrained arm at 10 % with the supervised arm at all labels.

    Args:
        summary: Results by task, as `label_curve.summarise` returns them.
    """
    return {name: _numbers(task) for name, task in summary.items()}


def _numbers(task: Mapping[str, Any]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
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
        task: Results of one task, as `label_curve.summarise` returns them.

    Returns:
        Sentences with names of arms in backticks; none if `leading_arm` finds no arm.
    """
    arm, best = leading_arm(task), task["best_supervised"]
    if arm is None or best is None:
        return []
    point, share = nearest(task["pretrained"][arm]), _share(task, arm)
    scores = (
        f"With {share} of the labels ({point['n_labels']} patches), `{arm}` reaches "
        f"{point['value']:.2f} {task['metric']}; the supervised arm `{best['arm']}` reaches "
        f"{best['value']:.2f} with all {best['n_labels']} labels."
    )
    if reasons := task["no_interval"]:
        why = "; ".join(reasons)
        return [f"It cannot be said whether fewer labels are enough: {why}.", scores]
    return [scores, *_differences(task, arm), *_choice(task)]


def _share(task: Mapping[str, Any], arm: str) -> str:
    return f"{100 * nearest(task['pretrained'][arm])['fraction']:g} %"


def _differences(task: Mapping[str, Any], arm: str) -> list[str]:
    points, gaps = task["pretrained"], task["difference_to_best_supervised"]
    gap, factor = nearest(gaps[arm]), task["label_saving_factor"][arm]
    # no curve begins with fewer labels than its first point
    most = task["best_supervised"]["n_labels"] / points[arm][0]["n_labels"]
    sentences = [
        f"The difference is {gap['value']:+.3f}, with a 95 % interval from {gap['low']:+.3f} to "
        f"{gap['high']:+.3f}.",
        _verdict(gap),
        *_with_as_many(task, arm),
        f"The label-saving factor is {factor['value']:.1f} ({factor['low']:.1f} to "
        f"{factor['high']:.1f}).",
        f"The largest that this curve can show is {most:.0f}.",
    ]
    tuned = arm.removesuffix("_frozen").removesuffix("_knn")
    for other, how in ((tuned, "Fine-tuned"), (f"{tuned}_frozen", "With frozen backbones")):
        if other != arm and other in points:
            score, gap = nearest(points[other]), nearest(gaps[other])
            sentences.append(
                f"{how} (`{other}`), the score at {_share(task, arm)} is {score['value']:.2f} "
                f"({gap['value']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f})."
            )
    return sentences


def _with_as_many(task: Mapping[str, Any], arm: str) -> list[str]:
    """Compare with the supervised arm on the same labels."""
    gap, supervised = gap_at_same_labels(task, arm), task["best_supervised"]["arm"]
    if gap is None:
        return []
    point = next(p for p in task["supervised"][supervised] if p["fraction"] == gap["fraction"])
    return [
        f"With the same {_share(task, arm)} of the labels, `{supervised}` reaches "
        f"{point['value']:.2f}; the difference is {gap['value']:+.3f} "
        f"({gap['low']:+.3f} to {gap['high']:+.3f})."
    ]


def _choice(task: Mapping[str, Any]) -> list[str]:
    """Say how the arms were chosen, and which supervised arm did better than the chosen one."""
    # say so: an arm picked by its score looks better than it is (docs/evaluation.md)
    if AUTO in task["chosen"].values():
        return ["The arms were chosen by these scores, which favours them."]
    sentences = ["The arms were chosen before this run."]
    best, arms = task["best_supervised"], task["supervised"]
    first = max(arms, key=lambda name: arms[name][-1]["value"])
    if arms[first][-1]["value"] > best["value"]:
        sentences.append(f"With all labels, `{first}` reaches {arms[first][-1]['value']:.2f}.")
    return sentences


def _verdict(gap: Mapping[str, float]) -> str:
    # significant
    if gap["low"] > 0:
        return "The interval lies above zero: fewer labels give a better score."
    if gap["high"] < 0:
        return "The interval lies below zero: fewer labels give a worse score."
    return "The interval includes zero, so this run shows no sure difference."
