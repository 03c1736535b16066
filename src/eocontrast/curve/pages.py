"""Numbers of the committed run in README.md and docs/results.md.

`python -m eocontrast.curve.pages` rewrites the text between markers such as `<!-- headline -->` and
`<!-- /headline -->`, and copies the figures to `docs/figures/`, which no run overwrites.
`--check [REVISION]` compares pages, figures and metrics of one commit instead.
"""

from __future__ import annotations

import argparse
import difflib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eocontrast.curve.headline import answer, compared_arms, nearest
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole, write_text

PAGES = ("README.md", "docs/results.md")
FIGURES = ("label_curve.png", "qualitative.png")

Summary = Mapping[str, Any]
"""Results by task, as `label_curve.summarise` returns them."""


def headline_text(summary: Summary) -> str:
    """Return a paragraph per task: the leading arm against the best supervised one."""
    return "\n\n".join(filter(None, map(_paragraph, summary.values()))) + "\n"


def sign_text(summary: Summary) -> str:
    """Return whether 10 % of the labels were enough, in a sentence per task."""
    sentences = [_sign(name, task) for name, task in summary.items()]
    return " ".join(filter(None, sentences)) + "\n"


def _sign(name: str, task: Mapping[str, Any]) -> str:
    _, arm = compared_arms(task)
    if arm is None:
        return ""
    share = f"{100 * nearest(task['pretrained'][arm])['fraction']:g} % of the labels"
    gap = nearest(task["difference_to_best_supervised"][arm])
    what = "segmentation" if name == "segmentation" else "classification"
    start = f"On the simulated scenes of the default run, {share} after pretraining"
    if gap["low"] is None:
        return f"{start} could not be compared with all labels without it ({what})."
    if gap["high"] < 0:
        return f"{start} were **worse** than all labels without it ({what})."
    if gap["low"] > 0:
        return f"{start} were **better** than all labels without it ({what})."
    sign = "below" if gap["value"] < 0 else "above"
    return f"{start} were {sign} all labels without it, but **not surely** ({what})."


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


def blocks(summary: Summary) -> dict[str, str]:
    """Return the generated text of every marker."""
    tables = {f"table {name}": table(task) for name, task in summary.items()}
    return {"sign": sign_text(summary), "headline": headline_text(summary), **tables}


def fill(text: str, summary: Summary) -> str:
    """Return a page with the text between its markers generated anew."""
    for name, block in blocks(summary).items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(start)
        if found:
            text = before + start + block + end + rest.partition(end)[2]
    return text


def write(root: Path) -> None:
    """Rewrite the pages from `metrics/` and copy its figures."""
    summary = json.loads((root / "metrics/summary.json").read_text(encoding="utf-8"))
    for page in PAGES:
        path = root / page
        write_text(path, fill(path.read_text(encoding="utf-8"), summary))
    for figure in FIGURES:
        (root / "docs/figures").mkdir(exist_ok=True)
        with whole(root / "docs/figures" / figure) as partial:
            partial.write_bytes((root / "metrics" / figure).read_bytes())


def differences(read: Callable[[str], bytes]) -> list[str]:
    """Compare the pages and figures of one state with its metrics.

    Args:
        read: function from a path within the project to the content of that file.

    Returns:
        Lines of a diff; none if the pages are what the metrics give.
    """
    summary = json.loads(read("metrics/summary.json"))
    lines: list[str] = []
    for page in PAGES:
        text = read(page).decode()
        now, then = text.splitlines(), fill(text, summary).splitlines()
        lines += difflib.unified_diff(now, then, page, "generated", lineterm="", n=0)
    for figure in FIGURES:
        if read(f"docs/figures/{figure}") != read(f"metrics/{figure}"):
            lines.append(f"docs/figures/{figure} is not metrics/{figure}")
    return lines


def committed(root: Path, revision: str) -> Callable[[str], bytes]:
    """Return a function that reads files of a commit from git's objects.

    The function raises UserError if the commit has no such file.
    """

    def read(path: str) -> bytes:
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
    revision = parser.parse_args(arguments).check
    if revision is None:
        write(Path())
        return 0
    lines = differences(committed(Path(), revision))
    print("\n".join(lines), end="\n" if lines else "")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
