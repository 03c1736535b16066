from typing import Any

import pytest

from eocontrast.curve.headline import headline, leading_arm, nearest


def task(**scores: float) -> dict[str, Any]:
    """Make a summary whose arms have these scores at 10 %, and 0.99 or less at all labels."""
    arms = {
        name: [{"fraction": 0.1, "value": value}, {"fraction": 1.0, "value": 0.99 - value}]
        for name, value in scores.items()
    }
    return {
        "metric": "AA",
        "chosen": {"supervised": "auto", "pretrained": "auto"},
        "best_supervised": {"arm": "late", "n_labels": 100, "value": 0.55},
        "pretrained": arms,
        "label_saving_factor": {n: {"value": 8.0, "low": 4.0, "high": 16.0} for n in scores},
    }


def test_leading_arm_best_at_ten_percent() -> None:
    assert leading_arm(task(a=0.2, b=0.5, c=0.4)) == "b"


@pytest.mark.parametrize(("fractions", "expected"), [((0.01, 1.0), 0.01), ((0.05, 0.2), 0.05)])
def test_nearest_fraction_without_ten_percent(
    fractions: tuple[float, ...], expected: float
) -> None:
    points = [{"fraction": fraction, "value": 0.5} for fraction in fractions]
    assert nearest(points)["fraction"] == expected


def test_headline_without_rivals() -> None:
    assert leading_arm(task()) is None
    alone = {**task(a=0.5), "best_supervised": None, "label_saving_factor": {}}
    assert leading_arm(alone) is None
    assert headline({"single_label": alone}) == {"single_label": {}}


def test_headline_numbers() -> None:
    assert headline({"single_label": task(a=0.2, b=0.5)}) == {
        "single_label": {
            "supervised": "late",
            "supervised_AA": 0.55,
            "pretrained": "b",
            "pretrained_AA": 0.5,
            "label_saving_factor": 8.0,
            "label_saving_low": 4.0,
            "label_saving_high": 16.0,
        }
    }
