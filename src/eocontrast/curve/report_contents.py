"""What the page of results tells, from the files that the stages left."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from eocontrast.curve.headline import leading_arm
from eocontrast.models.weights import Pretrained
from eocontrast.runtime.errors import UserError

_BY_CLASS = {"AA": "recall", "macro_F1": "F1", "mIoU": "IoU"}
"""The score of a class that the metric of a task is the mean of."""

Rows = list[dict[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Contents:
    """Everything on the page.

    Attributes:
        data: names of the sources, and whether either is simulated.
        tasks: headline of every task: intervals by arm and fraction.
        per_class: scores of classes by task, a table a fraction.
        embeddings: pretraining runs with the health of what they trained.
        audits: of every source, its findings by rule.
        figures: PNG by name, `label_curve` and `qualitative`.
        card: of the backbones that save most labels, in Markdown; empty where none save any.
    """

    data: dict[str, Any]
    tasks: Rows
    per_class: Rows
    embeddings: Rows
    audits: Rows
    figures: dict[str, bytes]
    card: str


def read_contents(
    metrics: Path,
    pretrained: Path,
    pretrain: str,
    finetune: str,
    runs: Iterable[str],
    card: str,
) -> Contents:
    """Gather what the stages before left.

    Args:
        metrics: folder of scores, figures and audits.
        pretrained: folder of weights.
        pretrain: source that the backbones were trained on.
        finetune: source of the labels.
        runs: names of the pretrainings.
        card: of the leading backbones, in Markdown; empty if there are none.

    Raises:
        UserError: a file is missing or damaged.
    """
    sources = dict.fromkeys((pretrain, finetune))
    summary = _read(metrics / "summary.json", lambda path: json.loads(path.read_text()))
    measures = {task: _BY_CLASS[found["metric"]] for task, found in summary.items()}
    return Contents(
        data={
            "pretrain": pretrain,
            "finetune": finetune,
            "simulated": "simulated" in sources,
        },
        tasks=[_task(name, found) for name, found in summary.items()],
        per_class=_per_class(
            _read(metrics / "per_class.csv", lambda path: pd.read_csv(path)), measures
        ),
        embeddings=[_embedding(pretrained / f"{run}.safetensors") for run in runs],
        audits=[_audit(metrics / f"audit/{source}.json") for source in sources],
        figures={
            name: _read(metrics / f"{name}.png", Path.read_bytes)
            for name in ("label_curve", "qualitative")
        },
        card=card,
    )


def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): run `dvc repro report`") from error


def _task(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    arms = {**found["supervised"], **found["pretrained"]}
    labels = {p["fraction"]: p["n_labels"] for points in arms.values() for p in points}
    fractions = sorted(labels)
    savings = found.get("label_saving_factor", {})
    leader = leading_arm(found)
    tables = {
        "arms": arms,
        "to_best": found.get("difference_to_best_supervised", {}),
        "at_same": found.get("difference_at_same_labels", {}),
    }
    return {
        "title": _title(name),
        "metric": found["metric"],
        "best": found["best_supervised"],
        "leader": {"arm": leader, **savings[leader]} if leader and savings[leader]["value"] else {},
        "savings": savings,
        "fractions": [f"{_share(f)} ({labels[f]} labels)" for f in fractions],
        "left_out": found["left_out"],
        **{key: _by_fraction(table, fractions) for key, table in tables.items()},
    }


def _title(task: str) -> str:
    return task.replace("_", " ").capitalize()


def _share(fraction: float) -> str:
    return f"{100 * fraction:.4g} %"


def _by_fraction(
    arms: Mapping[str, Rows], fractions: Sequence[float]
) -> dict[str, list[dict[str, Any] | None]]:
    """A point a fraction, None where an arm has none."""
    points = {arm: {point["fraction"]: point for point in rows} for arm, rows in arms.items()}
    return {arm: [found.get(fraction) for fraction in fractions] for arm, found in points.items()}


def _per_class(table: pd.DataFrame, measures: Mapping[str, str]) -> Rows:
    return [
        {
            "title": f"{_title(str(task))}, {measures[str(task)]} by class",
            "tables": [
                _classes(
                    of_task[of_task["fraction"] == fraction],
                    measures[str(task)],
                    f"On {_share(fraction)} of the labels",
                )
                for fraction in sorted(of_task["fraction"].unique().tolist())
            ],
        }
        for task, of_task in table.groupby("task", sort=False)
    ]


def _classes(rows: pd.DataFrame, measure: str, caption: str) -> dict[str, Any]:
    columns = [measure, f"{measure}_sd"]
    return {
        "caption": caption,
        "classes": rows["class"].unique().tolist(),
        "arms": {
            arm: of_arm[columns].values.tolist() for arm, of_arm in rows.groupby("arm", sort=False)
        },
    }


def _embedding(file: Path) -> dict[str, Any]:
    found = Pretrained.load(file)
    return {
        "name": file.stem,
        "method": found.method,
        "patches": found.patches,
        "epochs": found.run.get("epochs"),
        "health": found.health,
    }


def _audit(path: Path) -> dict[str, Any]:
    audit = _read(path, lambda file: json.loads(file.read_text()))
    rules: dict[tuple[str, str], Rows] = defaultdict(list)
    for finding in audit["findings"]:
        rules[finding["severity"], finding["rule"]].append(finding)
    broken = [
        {"rule": rule, "severity": severity, **_example(found)}
        for (severity, rule), found in sorted(rules.items())
    ]
    known = [{**note, "severity": "note", "patches": len(note["ids"])} for note in audit["notes"]]
    counted = {name: audit[name] for name in ("patches", "quarantined")}
    return {"source": path.stem, **counted, "rules": broken + known}


def _example(findings: Rows) -> dict[str, Any]:
    distinct = {finding["id"] for finding in findings}
    return {"patches": len(distinct), "message": findings[0]["message"]}
