"""Rules of the audit, with their meaning and cure; the table of them in docs/data.md.

`python -m eocontrast.normalisation.rules` writes the table, `--check` compares it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eocontrast.runtime.files import write_text


@dataclass(frozen=True)
class Rule:
    """One rule of the audit.

    Attributes:
        severity: Severity of its findings; the second one applies in the case that `meaning` names.
        meaning: What was found.
        action: What to do.
    """

    severity: str
    meaning: str
    action: str


RULES: dict[str, Rule] = {
    "unreadable": Rule(
        "error",
        "A file is missing, damaged or of another format.",
        "Fetch it again, or convert it.",
    ),
    "bands": Rule(
        "error, warning",
        "A band is missing, its description contradicts the declaration, or values show another "
        "order: VH stronger than VV, a visible band as bright as the infrared, B05 above B06 on "
        "land. A warning if the words are unknown, or if fewer than half of the patches show it.",
        "Correct `bands`, or the file's descriptions.",
    ),
    "units": Rule(
        "error",
        "Values are amplitudes by the header, bands differ in scale or offset, or only tags state "
        "it.",
        "Square amplitudes; write one scale and offset for all bands.",
    ),
    "dtype": Rule("error", "Values are complex.", "Write intensity or dB."),
    "size": Rule(
        "error",
        "A patch is not square, or its rasters differ in size.",
        "Cut scenes by `eocontrast start`, or resample.",
    ),
    "georeference": Rule(
        "error, warning",
        "Rasters of a pair lie on other grids, or by ground control points. A warning for "
        "published archives.",
        "Bring them to one grid (`gdalwarp`).",
    ),
    "mask": Rule(
        "error",
        "A mask has several bands, fractions, lossy compression, or a class that its header calls"
        " no data; or `one_hot` bands are not the classes.",
        "Write class values into one lossless band.",
    ),
    "mask_values": Rule(
        "error, warning, note",
        "Masks hold values without a class. A warning if some pixels have one and more than 1 % "
        "have none, or if a header hides a value that may be a class; a note if it hides 0 or 255.",
        "Correct `classes`, or the header's no-data value.",
    ),
    "offset": Rule(
        "error, warning",
        "Values look like the offset of +1000, undeclared, or are too low for a declared one. A "
        "warning if some files declare an offset and others none.",
        "Set `offset`.",
    ),
    "resolution": Rule(
        "error, warning",
        "Pixels have another size than those of most patches. A warning for published archives.",
        "Resample one group (`gdalwarp -tr`).",
    ),
    "all_nodata": Rule("error", "No pixel holds data.", "Remove the patch."),
    "some_nodata": Rule(
        "warning, note",
        "Pixels are missing, by the reasons in the message. A note up to 5 %.",
        "Check the reason; set `nodata` if it is wrong.",
    ),
    "implausible_units": Rule(
        "warning", "Values can hardly be in the declared units.", "Correct `units`."
    ),
    "scale": Rule(
        "error, warning",
        "No ground has such values, in a quarter of the patches: logarithms without their factor, "
        "decibels halved or doubled, or another number than 10,000 for a reflectance of 1. An "
        "error for logarithms.",
        "Convert the values, or correct `units`.",
    ),
    "implausible_dtype": Rule(
        "warning",
        "Values are whole numbers where fractions are expected, or the reverse.",
        "Correct `units`.",
    ),
    "saturated": Rule(
        "warning",
        "More than 5 % of the pixels lie outside `valid_range` and are clipped.",
        "Correct `valid_range`, or ignore clouds and snow.",
    ),
    "constant_band": Rule(
        "warning", "A band holds a single value.", "Check the export of that band."
    ),
    "repeated_band": Rule(
        "warning", "Two bands hold the same values.", "Check the export of these bands."
    ),
    "undeclared_fill": Rule(
        "warning",
        "At least 2 % of the pixels hold exactly the same values, in flat areas with a step at "
        "their edge, such as 0 to which an offset was added. Or one band alone is 0 in a "
        "rectangle.",
        "Declare the value as `nodata`, or write the file again.",
    ),
    "duplicate": Rule(
        "error, warning",
        "Two patches hold the same pixels. A warning if both are on one side of the split.",
        "Give both one group.",
    ),
    "gap": Rule(
        "note",
        "A catalogue has no usable pair for a patch; the message says why.",
        "Widen `dates`, `max_cloud` or `max_days_apart` of the source `stac`.",
    ),
    "shift": Rule(
        "warning, note",
        "Sentinel-1 is shifted against Sentinel-2 by content. A note if the content shows nothing.",
        "Correct the registration.",
    ),
}
"""Rules by name, in the order in which files are read."""


def rules_table() -> str:
    """Return the rules as a Markdown table."""
    rows = [
        f"| `{name}` | {rule.severity} | {rule.meaning} | {rule.action} |"
        for name, rule in RULES.items()
    ]
    header = ["| rule | severity | what was found | what to do |", "|---|---|---|---|"]
    return "\n".join([*header, *rows])


def with_table(page: str) -> str:
    """Return the text of a page with the table of rules in place of its own."""
    first = rules_table().splitlines()[0]
    before, found, rest = page.partition(first + "\n")
    if not found:
        return page
    lines = rest.splitlines(keepends=True)
    end = next((k for k, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return f"{before}{rules_table()}\n{''.join(lines[end:])}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table into docs/data.md, or compare the two; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", nargs="?", type=Path, default=Path("docs/data.md"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    page = options.page.read_text(encoding="utf-8")
    wanted = with_table(page)
    if rules_table() not in wanted:
        print(f"{options.page} has no table of rules, expected its header line", file=sys.stderr)
        return 2
    if not options.check:
        write_text(options.page, wanted)
    elif wanted != page:
        run = "run `python -m eocontrast.normalisation.rules`"
        print(f"{options.page} has another table than the code: {run}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
