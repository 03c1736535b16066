"""What the pages say of the committed run is what its files say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SUMMARY = json.loads((ROOT / "metrics/summary.json").read_text())


def short(value: float, digits: int = 2) -> str:
    """A score without the zero before its point."""
    return f"{value:.{digits}f}".replace("0.", ".", 1)


def table(found: dict[str, Any]) -> list[str]:
    """A line an arm, the highest at all labels first."""
    arms = {name: f"`{name}`" for name in found["pretrained"]}
    arms |= {name: f"`{name}`, labels alone" for name in found["supervised"]}
    points = found["supervised"] | found["pretrained"]
    order = sorted(arms, key=lambda name: -points[name][-1]["value"])
    return [
        " | ".join([f"| {arms[name]}", *(interval(point) for point in points[name])]) + " |"
        for name in order
    ]


def interval(point: dict[str, float]) -> str:
    return "{} ({}-{})".format(*(short(point[key]) for key in ("value", "low", "high")))


@pytest.mark.parametrize("task", SUMMARY)
def test_the_page_of_results_has_every_point(task: str) -> None:
    lines = (ROOT / "docs/results.md").read_text().splitlines()
    expected = table(SUMMARY[task])
    start = lines.index(expected[0])
    assert lines[start : start + len(expected)] == expected


BESIDE, WITHIN = "{} ({} to {})", "({}, {} to {})"


def difference(task: str, arm: str, fraction: float, which: str, form: str = BESIDE) -> str:
    """As the README tells one: `.044 (-.043 to .150)`, or all of it in brackets."""
    (point,) = [p for p in SUMMARY[task][which][arm] if p["fraction"] == fraction]
    value, low, high = (short(point[key], 3) for key in ("value", "low", "high"))
    return form.format(value, low, high)


def score(task: str, arm: str, fraction: float) -> str:
    points = (SUMMARY[task]["supervised"] | SUMMARY[task]["pretrained"])[arm]
    return short(next(p["value"] for p in points if p["fraction"] == fraction))


def saving(arm: str) -> str:
    found = SUMMARY["single_label"]["label_saving_factor"][arm]
    return f"{found['value']:.0f} ({found['low']:.1f} to {found['high']:.0f})"


def test_the_readme_tells_what_was_measured() -> None:
    """The numbers of its headline, in their order."""
    text = re.sub(r"[\s*]+", " ", (ROOT / "README.md").read_text())
    single, pixels = "single_label", "segmentation"
    best, alone = "difference_to_best_supervised", "difference_at_same_labels"
    early = SUMMARY[single]["best_supervised"]
    told = [
        score(single, "dual_simclr_frozen", 0.1),
        score(single, "mma_frozen", 0.1),
        f"(`{early['arm']}`) {short(early['value'])}",
        difference(single, "dual_simclr_frozen", 0.1, best),
        difference(single, "mma_frozen", 0.1, best),
        saving("dual_simclr_frozen"),
        saving("mma_frozen"),
        difference(single, "dual_simclr_frozen", 0.1, alone),
        f"{score(single, 'dual_simclr', 0.1)} on 10 %",
        difference(single, "dual_simclr", 0.1, best, WITHIN),
        score(single, "dual_simclr", 0.5),
        score(pixels, "swin_unet_dual", 0.1),
        short(SUMMARY[pixels]["best_supervised"]["value"]),
        difference(pixels, "swin_unet_dual", 0.1, best, WITHIN),
    ]
    place = 0
    for number in told:
        assert number in text[place:], f"README lacks {number}, or has it elsewhere"
        place = text.index(number, place) + len(number)
