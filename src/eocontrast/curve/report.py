"""The report: all results of a run on one HTML page that needs no network."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from eocontrast.curve.headline import answer
from eocontrast.runtime.errors import readable

_BY_CLASS = {"AA": "recall", "macro_F1": "F1", "mIoU": "IoU"}
"""The score of a class whose mean over classes is the metric of a task."""

_HEALTH = ("loss", "spread", "mean_cosine", "effective_rank", "retrieval_top1")
_DASH = "\N{EN DASH}"

Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""Caption, names of the columns, and rows that begin with their name."""


def report(
    summary: Mapping[str, Any],
    classes: pd.DataFrame,
    health: Mapping[str, Mapping[str, Any]],
    sources: tuple[str, str],
    metrics: Path,
) -> str:
    """Render the page; equal arguments and files give equal bytes.

    Args:
        summary: Results by task, as `label_curve.summarise` returns them.
        classes: Scores by class, as `tables.per_class` returns them.
        health: Method, patches, epochs and health of the embeddings, by name of the pretraining.
        sources: Sources of the patches to pretrain on, and of the labels.
        metrics: Folder of audits and figures.

    Raises:
        UserError: An audit or a figure cannot be read.
    """
    audits, figures = {}, {}
    with readable(f"an audit or a figure in {metrics} cannot be read", "run `dvc repro`"):
        for source in dict.fromkeys(sources):
            audits[source] = json.loads((metrics / f"audit/{source}.json").read_text())
        for name in ("label_curve", "qualitative"):
            # within the page, which then needs no other file
            figures[name] = base64.b64encode((metrics / f"{name}.png").read_bytes()).decode()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,  # a value that is missing is an error, not an empty cell
        # names of classes and messages of the audit are the user's
        autoescape=True,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    columns = ("method", "patches", "epochs", *_HEALTH)
    runs = [
        [name, *(_plain(row.get(column)) for column in columns)] for name, row in health.items()
    ]
    return environment.get_template("report.html.jinja").render(
        sources=sources,
        tasks=[_task(name, task, classes) for name, task in summary.items()],
        health=("Pretraining runs", ["run", *columns], runs),
        audits=[_audit(source, audit) for source, audit in audits.items()],
        figures=figures,
    )


def _task(name: str, task: Mapping[str, Any], classes: pd.DataFrame) -> dict[str, Any]:
    arms = {**task["supervised"], **task["pretrained"]}
    labels = {p["fraction"]: p["n_labels"] for points in arms.values() for p in points}
    head = [f"{100 * f:.4g} % ({labels[f]} labels)" for f in sorted(labels)]

    def grid(caption: str, points: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
        values = {arm: {p["fraction"]: _interval(p) for p in row} for arm, row in points.items()}
        rows = [[arm, *(row.get(f, _DASH) for f in sorted(labels))] for arm, row in values.items()]
        return caption, ["arm", *head], rows

    tables = [grid(f"{task['metric']} on the test split", arms)]
    if savings := task.get("label_saving_factor"):
        best = f"the best supervised arm, {task['best_supervised']['arm']},"
        tables = [
            (
                "Label-saving factor",
                ["arm", "factor"],
                [[a, _factor(f)] for a, f in savings.items()],
            ),
            grid(f"Difference to {best} with all labels", task["difference_to_best_supervised"]),
            grid(f"Difference to {best} with as many labels", task["difference_at_same_labels"]),
            *tables,
        ]
    first, *rest = answer(task) or ["No pretrained arm stands beside a supervised one."]
    return {
        "title": name.replace("_", " ").capitalize(),
        "answer": _with_code(first),
        "details": _with_code(" ".join(rest)),
        "tables": tables,
        "classes": _classes(classes[classes["task"] == name], _BY_CLASS[task["metric"]]),
        "left_out": sorted(set(task["left_out"].values())),
    }


def _with_code(text: str) -> Markup:
    # escaped before tags are added
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # nosec B704


def _classes(table: pd.DataFrame, measure: str) -> Table:
    rows = table[table["fraction"] == table["fraction"].max()]
    cells = [
        [
            arm,
            *(f"{_plain(m)} ± {_plain(sd)}" for m, sd in of[[measure, f"{measure}_sd"]].to_numpy()),
        ]
        for arm, of in rows.groupby("arm", sort=False)
    ]
    caption = f"{measure} by class with the most labels, mean ± sd over seeds"
    return caption, ["arm", *rows["class"].unique()], cells


def _audit(source: str, audit: Mapping[str, Any]) -> dict[str, Any]:
    rules: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for finding in audit["findings"]:
        rules[finding["rule"], finding["severity"]].append(finding)
    rows = [
        [*rule, len({finding["id"] for finding in findings}), findings[0]["message"]]
        for rule, findings in sorted(rules.items(), key=lambda item: item[0][::-1])
    ]
    rows += [[note["rule"], "note", len(note["ids"]), note["message"]] for note in audit["notes"]]
    counts = {name: audit[name] for name in ("patches", "quarantined")}
    head = ["rule", "severity", "patches", "example"]
    return {"source": source, **counts, "table": ("Findings by rule", head, rows)}


def _plain(value: object) -> str:
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.3f}"
    return str(value) if isinstance(value, str) or (value and value == value) else _DASH


def _interval(point: Mapping[str, Any]) -> str:
    return f"{point['value']:.3f} ({_ends(point, 3)})"


def _ends(interval: Mapping[str, Any], digits: int) -> str:
    if interval["low"] is None:
        return "no interval"
    return f"{interval['low']:.{digits}f} to {interval['high']:.{digits}f}"


def _factor(saving: Mapping[str, Any]) -> str:
    """Write a label-saving factor, `at least` if the fewest labels already reach the score."""
    bound = "at least " if saving["at_least"] else ""
    return f"{bound}{saving['value']:.1f} ({_ends(saving, 1)})"
