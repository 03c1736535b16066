"""The command `eocontrast plan`: options in, one call."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_possible, refuse_existing

_PLAN = """\
Estimate how many labels every arm of a label curve needs for a score, how many pretraining saves
there, and how much twice today's labels would add. The estimate is a power law that levels off,
with 95 % intervals. Numbers beyond the labels that were tried are marked. To test them, the scores
with the most labels are predicted from those with fewer.

FILE is a CSV with one row per trained model: task, arm, n_labels, seed, metric, value. Two columns
are optional: init (names that begin with `random` are labels alone) and inputs (the sensors of a
model, such as s1+s2; an arm's rows with the most sensors count). Intervals also resample test
groups if arms/ and predictions/ lie beside FILE, as after `dvc repro`.
"""


def add_plan_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `plan` to the subcommands."""
    parser = commands.add_parser(
        "plan",
        help="estimate how many labels a score needs",
        description=_PLAN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=plan)
    add = parser.add_argument
    add("--target", type=float, required=True, metavar="SCORE", help="to reach, between 0 and 1")
    add("--from-csv", type=Path, default=Path("metrics/label_curve.csv"), metavar="FILE",
        help="default: %(default)s")  # fmt: skip
    add("--task", nargs="+", default=(), help="default: all")
    add("--arm", nargs="+", default=(), help="default: all")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("-o", "--out", type=Path, metavar="OUT.png", help="draw the curves")
    add("--overwrite", action="store_true", help="replace an existing OUT")


def plan(arguments: argparse.Namespace) -> int:
    """Print how many labels a target needs, and draw the curves if a file is named.

    Raises:
        UserError: the curve cannot be read or the target is no score, or the output exists or
            cannot be made.
    """
    from eocontrast.curve.plan import plan as planned
    from eocontrast.curve.plan_report import plan_entries, plan_tables

    out: Path | None = arguments.out
    if out:
        refuse_existing(out, arguments.overwrite)
        # before minutes of estimates
        check_possible(out)
        if out.suffix.lower() != ".png":
            raise UserError(f"{out} is not the name of a PNG: end it in .png")
    plans = planned(arguments.from_csv, arguments.target, arguments.task, arguments.arm)
    if out:
        from eocontrast.curve.plan_figure import draw_plan

        draw_plan(plans, out)
    print(json.dumps(plan_entries(plans), indent=1) if arguments.json else plan_tables(plans))
    return 0
