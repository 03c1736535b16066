"""Results of arms that no model was trained for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eocontrast.evaluation.results import ArmResult
from eocontrast.evaluation.scores import Tally, class_scores, scores, tally
from eocontrast.models.tasks import TASKS, TaskName

SEEDS = (0, 1)
CLASSES = ("Forest", "Urban", "Water")
N_LABELS = {0.1: 10, 0.5: 50, 1.0: 100}
GROUPS = tuple(f"g{number:02d}" for number in range(30))


def answers(hit: NDArray[np.bool_], groups: tuple[str, ...]) -> Tally:
    """Counts by group of three patches a group, one of each class, that are right or not."""
    names = np.array(CLASSES)
    labels = np.arange(len(hit)) % 3
    table = pd.DataFrame(
        {
            "group": np.repeat(groups, 3),
            "actual": names[labels],
            "predicted": names[np.where(hit, labels, (labels + 1) % 3)],
            "count": 1,
        }
    )
    return tally(table, CLASSES, np.array(groups, dtype=object))


def arm(
    name: str,
    accuracy: dict[float, float],
    supervised: bool = False,
    seed: int = 0,
    task: TaskName = "single_label",
    inputs: str = "s1+s2",
    groups: tuple[str, ...] = GROUPS,
) -> ArmResult:
    """An arm whose answers are right with probability `accuracy`, a third of it with one sensor."""
    rng = np.random.default_rng(seed)
    exclusive = TASKS[task].exclusive
    points, by_class, tallies = [], [], {}
    for fraction, wanted in accuracy.items():
        for run in SEEDS:
            for sensors in (inputs, "s1", "s2") if "+" in inputs else (inputs,):
                share = wanted if sensors == inputs else wanted / 3
                counts = answers(rng.random(3 * len(groups)) < share, groups)
                if sensors == inputs:
                    tallies[fraction, run] = counts
                where: dict[str, Any] = {"fraction": fraction, "seed": run, "inputs": sensors}
                overall = {n: float(v) for n, v in scores(counts.sum(0), exclusive).items()}
                points.append({**where, "n_labels": N_LABELS[fraction], **overall, "ECE": 0.1})
                for number, class_name in enumerate(CLASSES):
                    scored = {n: v[number] for n, v in class_scores(counts.sum(0)).items()}
                    by_class.append({**where, "class": class_name, **scored})
    return ArmResult(
        name=name,
        task=task,
        metric=TASKS[task].metric,
        exclusive=exclusive,
        init="random" if supervised else "dual",
        method="random" if supervised else "dual_simclr",
        head="linear",
        frozen=False,
        inputs=inputs,
        supervised=supervised,
        classes=CLASSES,
        points=pd.DataFrame(points),
        by_class=pd.DataFrame(by_class),
        groups=groups,
        tallies=tallies,
        left_out={"0.01": "too few"},
        no_interval=(),
        origins=dict.fromkeys(SEEDS, 0),
    )
