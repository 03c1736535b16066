"""Report of a source on patches that it could not find, as notes of the audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eocontrast.normalisation.audit import Finding
from eocontrast.runtime.errors import readable

_SUMMARY = ("asked", "found", "gaps", "days_apart", "unclear", "offset_contradicted")
"""Entries of a report that the audit takes over; the rest is one entry per patch."""


def read_report(manifests: Path) -> dict[str, Any]:
    """Return what a source reports beside its manifest; empty for most sources.

    Raises:
        UserError: the report is damaged.
    """
    path = manifests / "report.json"
    if not path.exists():
        return {}
    with readable(f"{path} is damaged", "run `dvc repro -f download`"):
        report: dict[str, Any] = json.loads(path.read_text())
        return report


def gaps(report: dict[str, Any]) -> list[Finding]:
    """Return a note for each patch that was asked for and not found."""
    return [
        Finding(patch["id"], "gap", "note", f"no pair: {patch['cause']}")
        for patch in report.get("patches", [])
        if patch["cause"]
    ]


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of a report; empty for an empty one."""
    return {name: report[name] for name in _SUMMARY if name in report}
