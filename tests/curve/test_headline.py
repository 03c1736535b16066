from typing import Any

from eocontrast.curve.headline import headline, leading_arm


def task(**factors: float) -> dict[str, Any]:
    """A summary in which an arm ends at .5, .6, ... in the order given."""
    scores = {name: 0.5 + 0.1 * number for number, name in enumerate(factors)}
    return {
        "metric": "AA",
        "best_supervised": {"arm": "late", "n_labels": 100, "value": 0.55},
        "pretrained": {n: [{"value": 0.99}, {"value": value}] for n, value in scores.items()},
        "label_saving_factor": {
            name: {"value": value, "low": value / 2, "high": value * 2}
            for name, value in factors.items()
        },
    }


def test_the_arm_that_saves_most_labels_leads() -> None:
    assert leading_arm(task(a=2.0, b=8.0, c=0.0)) == "b"


def test_of_equals_the_one_that_ends_higher_leads() -> None:
    assert leading_arm(task(a=0.0, b=0.0, c=0.0)) == "c"


def test_without_a_pretrained_arm_or_one_from_labels_alone_none_leads() -> None:
    assert leading_arm(task()) is None
    alone = {"metric": "AA", "best_supervised": None, "pretrained": {"a": [{"value": 0.5}]}}
    assert leading_arm(alone) is None
    assert headline({"single_label": alone}) == {"single_label": {}}


def test_the_headline_is_a_handful_of_numbers_a_task() -> None:
    assert headline({"single_label": task(a=2.0, b=8.0)}) == {
        "single_label": {
            "labels_alone": "late",
            "labels_alone_AA": 0.55,
            "pretrained": "b",
            "pretrained_AA": 0.6,
            "label_saving_factor": 8.0,
            "label_saving_low": 4.0,
            "label_saving_high": 16.0,
        }
    }
