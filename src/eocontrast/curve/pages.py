"""Numbers of the committed runs in README.md and docs/results.md.

`python -m eocontrast.curve.pages` rewrites the text between markers such as `<!-- headline -->` and
`<!-- /headline -->`, and copies the figures to `docs/figures/`, which no run overwrites.
`--check [REVISION]` compares pages, figures and metrics of one commit instead. `--keep NAME` copies
the results of the run in `metrics/` to `metrics/NAME/` first, for a run of other data; with
`--of FOLDER` those of the run in another clone. Its markers begin with its name.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eocontrast.curve.headline import answer, compared_arms, gap_at_same_labels, nearest
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole, write_text

PAGES = ("README.md", "docs/results.md")
FIGURES = {
    "label_curve.png": "label_curve.png",
    "qualitative.png": "qualitative.png",
    "ombria.png": "ombria/label_curve.png",
}
"""Path within `metrics/` by name in `docs/figures/`."""

KEPT_RUNS = ("ombria",)
"""Runs on other data whose results are kept beside those of the default run."""

TESTED_ON = {
    "": "the simulated scenes of the default run",
    "ombria": "the 70 real test places of OMBRIA",
}

KEPT_FILES = ("summary.json", "headline.json", "label_curve.csv", "label_curve.png")
"""Results of such a run. Panels of maps stay out, because they show the data."""

Summary = Mapping[str, Any]
"""Results by task, as `label_curve.summarise` returns them."""


def headline_text(summary: Summary) -> str:
    """Return a paragraph per task: the leading arm against the best supervised one."""
    return "\n\n".join(filter(None, map(_paragraph, summary.values()))) + "\n"


def sign_text(summary: Summary, run: str = "") -> str:
    """Return whether 10 % of the labels were enough, and whether pretraining helped with them."""
    told = [
        *_by_answer(summary, partial(_against_all_labels, tested_on=TESTED_ON[run])),
        *_by_answer(summary, _against_same_labels),
    ]
    return " ".join(told) + "\n"


def _by_answer(summary: Summary, judge: Callable[[Mapping[str, Any]], str]) -> list[str]:
    """Return a sentence per answer, which the tasks with that answer share."""
    tasks_by_answer: dict[str, list[str]] = {}
    for name, task in summary.items():
        what = "segmentation" if name == "segmentation" else "classification"
        tasks_by_answer.setdefault(judge(task), []).append(what)
    tasks_by_answer.pop("", None)
    return [f"{answer}, in {' and '.join(tasks)}." for answer, tasks in tasks_by_answer.items()]


def _against_all_labels(task: Mapping[str, Any], tested_on: str) -> str:
    _, arm = compared_arms(task)
    if arm is None:
        return ""
    share = f"{100 * nearest(task['pretrained'][arm])['fraction']:g} % of the labels"
    gap = nearest(task["difference_to_best_supervised"][arm])
    verdict = _verdict(gap, "all labels without it")
    return f"On {tested_on}, {share} after pretraining {verdict}"


def _against_same_labels(task: Mapping[str, Any]) -> str:
    _, arm = compared_arms(task)
    gap = gap_at_same_labels(task, arm) if arm else None
    if gap is None:
        return ""
    return f"They {_verdict(gap, 'the same labels without it')}"


def _verdict(gap: Mapping[str, Any], other: str) -> str:
    if gap["low"] is None:
        return f"could not be compared with {other}"
    if gap["high"] < 0:
        return f"were **worse** than {other}"
    if gap["low"] > 0:
        return f"were **better** than {other}"
    sign = "below" if gap["value"] < 0 else "above"
    return f"were **not surely** {sign} {other}"


def _paragraph(task: Mapping[str, Any]) -> str:
    first, *rest = answer(task) or [""]
    return " ".join([f"**{first}**", *rest]) if first else ""


def table(task: Mapping[str, Any]) -> str:
    """Return a row per arm with its score and interval at every fraction, the best first."""
    arms = {**task["supervised"], **task["pretrained"]}
    order = sorted(arms, key=lambda arm: -arms[arm][-1]["value"])
    points = arms[order[0]]
    heads = [f"{100 * p['fraction']:g} % ({p['n_labels']})" for p in points]
    rows = [[f"{task['metric']} (95 % interval)", *heads], ["---"] * (1 + len(heads))]
    for arm in order:
        name = f"`{arm}`" + (", supervised" if arm in task["supervised"] else "")
        rows.append([name, *map(_score, arms[arm])])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _score(point: Mapping[str, Any]) -> str:
    if point["low"] is None:
        return f"{point['value']:.2f} (no interval)"
    return f"{point['value']:.2f} ({point['low']:.2f}-{point['high']:.2f})"


def blocks(summary: Summary, run: str = "") -> dict[str, str]:
    """Return the generated text of every marker of a run."""
    prefix = f"{run} " if run else ""
    tables = {f"{prefix}table {name}": table(task) for name, task in summary.items()}
    texts = {"sign": sign_text(summary, run), "headline": headline_text(summary)}
    return {**{f"{prefix}{name}": text for name, text in texts.items()}, **tables}


def fill(text: str, summary: Summary, run: str = "") -> str:
    """Return a page with the text between the markers of a run generated anew."""
    for name, block in blocks(summary, run).items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        if found:
            text = before + start + block + end + rest.partition(end)[2]
    return text


def _filled(text: str, read: Callable[[str], bytes]) -> str:
    """Return a page with the numbers of all runs."""
    for run in ("", *KEPT_RUNS):
        text = fill(text, json.loads(read(str(Path("metrics", run, "summary.json")))), run)
    return text


def keep(run: str, source: Path, root: Path) -> None:
    """Copy the results of the run in `source` to `metrics/<run>/` of the project in `root`.

    Raises:
        UserError: the run has no such result.
    """
    for name in KEPT_FILES:
        file = source / "metrics" / name
        if not file.is_file():
            raise UserError(f"{file} is missing; run `dvc repro` in {source} first")
        target = root / "metrics" / run / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole(target) as partial:
            partial.write_bytes(file.read_bytes())


def write(root: Path) -> None:
    """Rewrite the pages from `metrics/` and copy its figures."""

    def read(path: str) -> bytes:
        return (root / path).read_bytes()

    for page in PAGES:
        write_text(root / page, _filled(read(page).decode(), read))
    (root / "docs/figures").mkdir(exist_ok=True)
    for figure, path in FIGURES.items():
        with whole(root / "docs/figures" / figure) as partial:
            partial.write_bytes(read(f"metrics/{path}"))


def differences(read: Callable[[str], bytes]) -> list[str]:
    """Compare the pages and figures of one state with its metrics.

    Args:
        read: function from a path within the project to the content of that file.

    Returns:
        Lines of a diff; none if the pages are what the metrics give.
    """
    lines: list[str] = []
    for page in PAGES:
        text = read(page).decode()
        now, then = text.splitlines(), _filled(text, read).splitlines()
        lines += difflib.unified_diff(now, then, page, "generated", lineterm="", n=0)
    for figure, path in FIGURES.items():
        if read(f"docs/figures/{figure}") != read(f"metrics/{path}"):
            lines.append(f"docs/figures/{figure} is not metrics/{path}")
    return lines


def committed(root: Path, revision: str) -> Callable[[str], bytes]:
    """Return a function that reads files of a commit from git's objects.

    The function raises UserError if the commit has no such file.
    """

    def read(path: str) -> bytes:
        # from git's objects: the user's own run may have rewritten metrics/
        command = ["git", "show", f"{revision}:{path}"]
        done = subprocess.run(command, cwd=root, capture_output=True, check=False)  # nosec B603
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip()
            raise UserError(f"{path} of {revision} cannot be read: {message}")
        return done.stdout

    return read


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the pages, or check those of a commit; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m eocontrast.curve.pages", description=__doc__)
    parser.add_argument("--check", nargs="?", const="HEAD", metavar="REVISION")
    parser.add_argument("--keep", choices=KEPT_RUNS, metavar="NAME")
    parser.add_argument("--of", type=Path, default=Path(), metavar="FOLDER")
    parsed = parser.parse_args(arguments)
    if parsed.keep:
        keep(parsed.keep, parsed.of, Path())
    revision = parsed.check
    if revision is None:
        write(Path())
        return 0
    lines = differences(committed(Path(), revision))
    print("\n".join(lines), end="\n" if lines else "")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
