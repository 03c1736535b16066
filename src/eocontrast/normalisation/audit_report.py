"""Audit findings as a JSON file, and as a table of the broken rules."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from types import MappingProxyType

from eocontrast.normalisation.audit import SEVERITIES, Finding, Severity
from eocontrast.runtime.files import write_text

_HEADER = ("rule", "severity", "patches", "first ids")

_EXAMPLE = 240
"""Most characters of an example, which has a line of its own: names of patches are long."""


def write_audit(
    path: Path,
    findings: list[Finding],
    patches: int,
    shift_searched: int,
    catalogue: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Write all findings to a JSON file, with the number of patches read and left out.

    Notes with the same message are one entry, because half of the patches may share it.

    Args:
        path: JSON file to write.
        findings: Findings on all patches.
        patches: Number of patches read.
        shift_searched: Number of patches in which a shift was searched.
        catalogue: Patches asked for and found, for a source that asks a catalogue.
    """
    content = {
        "patches": patches,
        "quarantined": _count(findings, "error"),
        "shift_searched": shift_searched,
        "findings": [finding.to_dict() for finding in findings if finding.severity != "note"],
        "notes": _notes(findings),
        **({"catalogue": dict(catalogue)} if catalogue else {}),
    }
    write_text(path, json.dumps(content, indent=1) + "\n")


def audit_table(findings: list[Finding], patches: int, gaps: Sequence[str] = ()) -> str:
    """Return one line per rule with an example below it, worst first, and a verdict at the end.

    `gaps` are errors of the splits, as `split_gaps` returns them.
    """
    rules: dict[tuple[Severity, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        rules[finding.severity, finding.rule].append(finding)
    order = sorted(rules, key=lambda key: (SEVERITIES.index(key[0]), key[1]))
    rows = [_HEADER, *(_row(rule, severity, rules[severity, rule]) for severity, rule in order)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    header, *lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    examples = [shorten(rules[key][0].message, _EXAMPLE, placeholder=" ...") for key in order]
    pairs = zip(lines, examples, strict=True)
    told = [line for row, example in pairs for line in (row, f"    for example: {example}")]
    return "\n".join([*([header, *told] if rules else []), verdict(findings, patches, gaps)])


def verdict(findings: list[Finding], patches: int, gaps: Sequence[str] = ()) -> str:
    """Return how many patches cannot be used, and how many deserve a look."""
    errors, warnings = _count(findings, "error"), _count(findings, "warning")
    unusable = f"; the splits cannot be used: {'; '.join(gaps)}" if gaps else ""
    if errors or warnings:
        count = f"of {patches} patches {errors} cannot be used, {warnings} have a warning"
    elif gaps:
        count = f"no pixel of the {patches} patches is wrong"
    else:
        count = f"nothing is wrong with the {patches} patches"
    return f"audit: {count}{unusable}"


def _count(findings: list[Finding], severity: Severity) -> int:
    """Return the patches with a finding of this severity."""
    return len({finding.id for finding in findings if finding.severity == severity})


def _row(rule: str, severity: Severity, findings: list[Finding]) -> tuple[str, ...]:
    ids = _distinct(finding.id for finding in findings)
    first = ", ".join(ids[:3]) + (", ..." if len(ids) > 3 else "")
    return rule, severity, str(len(ids)), first


def _notes(findings: list[Finding]) -> list[dict[str, object]]:
    notes: dict[tuple[str, str], list[str]] = defaultdict(list)
    for finding in findings:
        if finding.severity == "note":
            notes[finding.rule, finding.message].append(finding.id)
    return [{"rule": rule, "message": said, "ids": ids} for (rule, said), ids in notes.items()]


def _distinct(ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(ids))
