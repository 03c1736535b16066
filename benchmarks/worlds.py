"""Repeat the default run in other worlds, precisions and numbers of threads.

    python benchmarks/worlds.py          # run what is missing, each run as a DVC experiment
    python benchmarks/worlds.py --table  # print the table of docs/evaluation.md

A run trains the arms of the headline and their frozen ones, at the two shares of labels that the
headline compares. It happens in a temporary copy of the project, so the committed results stay.
World 1 is missing on purpose, because learning rates and arms were chosen in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eocontrast.config.curve import LabelCurveParams
from eocontrast.config.params import load_params
from eocontrast.curve.headline import FRACTION, compared_arms, nearest


@dataclass(frozen=True)
class Repeat:
    """One run of the table."""

    world: int
    precision: str
    threads: int

    @property
    def name(self) -> str:
        """Return the name of the experiment."""
        return f"world{self.world}-{self.precision}-{self.threads}"

    def settings(self, curve: LabelCurveParams) -> list[str]:
        """Return the options of `dvc exp run`."""
        changes = [f"sources.simulated.seed={self.world}", f"precision='{self.precision}'"]
        return [word for change in (*changes, *_fewer(curve)) for word in ("-S", change)]


REPEATS = (
    Repeat(0, "no", 2),
    Repeat(0, "no", 1),
    Repeat(0, "bf16", 2),
    Repeat(0, "bf16", 1),
    Repeat(2, "no", 2),
    Repeat(3, "no", 2),
)
HEAD = ("world", "precision", "threads", "task", "supervised", "pretrained", "difference", "best")


def _fewer(curve: LabelCurveParams) -> Iterator[str]:
    """Yield changes that leave out all but the arms of the headline, and their frozen ones."""
    named = {arm for task in curve.headline.values() for arm in task.model_dump().values()}
    yield f"label_curve.fractions=[{FRACTION},1.0]"
    yield "qualitative.arms=[]"
    # not removed: DVC writes an emptied section so that it cannot be read again
    segmenters = curve.headline["segmentation"]
    for name in curve.ensembles:
        yield f"label_curve.ensembles.{name}.first={segmenters.supervised}"
        yield f"label_curve.ensembles.{name}.second={segmenters.pretrained}"
    for init, arms in curve.arms.items():
        kept = {arm for arm in arms if arm.removesuffix("_frozen") in named}
        if not kept:  # an init without an arm is refused
            yield f"~pretrain.runs.{init}"
            yield f"~label_curve.arms.{init}"
        else:
            yield from (f"~label_curve.arms.{init}.{arm}" for arm in arms if arm not in kept)


def run(repeat: Repeat) -> None:
    """Run the pipeline with the settings of a row."""
    settings = repeat.settings(load_params().label_curve)
    command = ["dvc", "exp", "run", "--temp", "--name", repeat.name, *settings]
    threads = {"OMP_NUM_THREADS": str(repeat.threads)}
    subprocess.run(command, env={**os.environ, **threads}, check=True)


def summary(repeat: Repeat) -> dict[str, Any] | None:
    """Return the summary that the experiment of a row left in git, or None if it was not run."""
    listed = _git("for-each-ref", "refs/exps", "--format=%(refname)").split()
    found = [ref for ref in listed if ref.endswith(f"/{repeat.name}")]
    if not found:
        return None
    read: dict[str, Any] = json.loads(_git("show", f"{found[0]}:metrics/summary.json"))
    return read


def _git(*words: str) -> str:
    return subprocess.run(("git", *words), check=True, capture_output=True, text=True).stdout


def rows(
    repeat: Repeat, found: Mapping[str, Any] | None, ensembles: Collection[str]
) -> list[tuple[str, ...]]:
    """Return a row per task: scores of the headline's arms, their difference, and the best arm.

    The last column names the pretrained arm of the run with the best score at that share of labels.

    Args:
        repeat: The run.
        found: Its summary, None if it was not run.
        ensembles: Names that are no arm: the supervised half of an ensemble would win for it.
    """
    where = (str(repeat.world), repeat.precision, str(repeat.threads))
    if found is None:
        return [(*where, "not run", *[""] * 4)]
    made: list[tuple[str, ...]] = []
    for name, task in found.items():
        _, arm = compared_arms(task)
        if arm is None:
            made.append((*where, name, "no headline", "", "", ""))
            continue
        best, point = task["best_supervised"], nearest(task["pretrained"][arm])
        gap = nearest(task["difference_to_best_supervised"][arm])
        arms = {a: points for a, points in task["pretrained"].items() if a not in ensembles}
        scores = {a: nearest(points)["value"] for a, points in arms.items()}
        made.append(
            (
                *where,
                name.replace("_", " "),
                f"`{best['arm']}` {best['value']:.3f}",
                f"`{arm}` {point['value']:.3f}",
                _difference(gap),
                f"`{max(scores, key=lambda a: scores[a])}`",
            )
        )
    return made


def _difference(gap: Mapping[str, Any]) -> str:
    if gap["low"] is None:  # one test group, for example
        return f"{gap['value']:+.3f} (no interval)"
    return f"{gap['value']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--table", action="store_true", help="print the table alone")
    if not parser.parse_args().table:
        for repeat in REPEATS:
            if summary(repeat) is None:
                run(repeat)
    lines = [HEAD, ("---",) * len(HEAD)]
    ensembles = load_params().label_curve.ensembles
    lines += [row for repeat in REPEATS for row in rows(repeat, summary(repeat), ensembles)]
    print(*(f"| {' | '.join(line)} |" for line in lines), sep="\n")


if __name__ == "__main__":
    main()
