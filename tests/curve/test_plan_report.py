import json
from dataclasses import replace

import numpy as np
import pytest

from eocontrast.curve.bootstrap import Interval
from eocontrast.curve.plan import ArmPlan, HeldOut, Saving, TaskPlan
from eocontrast.curve.plan_arms import ArmRuns
from eocontrast.curve.plan_report import labels_in_words, plan_entries, plan_tables
from eocontrast.curve.power_law import fit

N_LABELS = np.repeat([10.0, 100.0, 1000.0], 2)


def made(name: str = "mine", **changes: object) -> ArmPlan:
    scores = np.array([0.3, 0.32, 0.5, 0.5, 0.6, 0.61])
    runs = ArmRuns(name, "crops", "F1", False, N_LABELS, scores, None, 0)
    arm = ArmPlan(
        runs=runs,
        curves=fit(N_LABELS, scores, 50, np.random.default_rng(0)),
        reach="measured",
        labels_needed=Interval(457.3, 123.4, 2345.6),
        label_saving_factor=Saving(4.44, 1.2, 33.3, at_least=False),
        score_today=Interval(0.6, 0.55, 0.65),
        doubling_adds=Interval(0.03, 0.01, 0.05),
        top=Interval(0.8, 0.7, 0.95),
        held_out=HeldOut(0.58, 0.5, 0.65, measured=0.605, within=True),
    )
    return replace(arm, **changes)  # type: ignore[arg-type]


def task(*arms: ArmPlan, baseline: str | None = "base") -> TaskPlan:
    return TaskPlan("crops", "F1", 0.55, baseline, arms)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "460 (120 to 2,300*)"),
        ({"labels_needed": Interval(1234, 900, 50000), "reach": "extrapolated"},
         "1,200* (900 to beyond 10,000*)"),
        ({"labels_needed": Interval(10, 10, 47), "reach": "measured"}, "<= 10 (<= 10 to 47)"),
        ({"labels_needed": Interval(np.inf, 5000, np.inf), "reach": "beyond"},
         "beyond 10,000* (5,000* to beyond 10,000*)"),
        ({"labels_needed": Interval(np.inf, np.inf, np.inf), "reach": "beyond"}, "beyond 10,000*"),
        ({"labels_needed": Interval(np.inf, np.inf, np.inf), "reach": "not reachable"},
         "not reachable (top 0.80 (0.70 to 0.95))"),
    ],
)  # fmt: skip
def test_labels_in_words(changes: dict[str, object], words: str) -> None:
    assert labels_in_words(replace(made(), **changes)) == words  # type: ignore[arg-type]


def test_table_per_task() -> None:
    missed = made("missed", held_out=HeldOut(0.5, 0.4, 0.55, measured=0.61, within=False))
    text = plan_tables([task(made(), missed)])
    title, header, first, second, _, note, *_ = text.split("\n")
    assert title == "crops: labels for F1 0.55 (95 % intervals, seeds alone)"
    assert "saves over base" in header
    assert first.split("  ")[0] == "mine"
    assert "4.4 (1.2 to 33)" in first
    assert "0.58 (0.50 to 0.65)" in first
    assert "outside" not in first
    assert "0.61 (outside)" in second
    assert note.startswith("*")
    with_groups = made(runs=replace(made().runs, groups=16))
    assert "seeds and 16 test groups" in plan_tables([task(with_groups)])


def test_factor_as_lower_bound() -> None:
    bound = made(label_saving_factor=Saving(20, 2, np.inf, at_least=True))
    assert ">= 20 (2 to any)" in plan_tables([task(bound)])
    text = plan_tables([task(made(label_saving_factor=None, held_out=None), baseline=None)])
    assert "saves over" not in text


def test_json_without_infinities() -> None:
    endless = made(
        "far",
        labels_needed=Interval(np.inf, 800.0, np.inf),
        reach="beyond",
        label_saving_factor=None,
    )
    (entry,) = json.loads(json.dumps(plan_entries([task(made(), endless)]), allow_nan=False))
    assert (entry["task"], entry["target"], entry["best_supervised"]) == ("crops", 0.55, "base")
    near, far = entry["arms"]
    assert near["labels_needed"] == {"value": 457.3, "low": 123.4, "high": 2345.6}
    assert near["label_saving_factor"] == {
        "value": 4.44,
        "low": 1.2,
        "high": 33.3,
        "at_least": False,
    }
    assert near["held_out"]["within"]
    assert near["resampled"] == ["seeds"]
    assert near["n_labels"] == [10, 100, 1000]
    assert far["labels_needed"] == {"value": None, "low": 800, "high": None}
    assert far["reach"] == "beyond"
    assert far["label_saving_factor"] is None
