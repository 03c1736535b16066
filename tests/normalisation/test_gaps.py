import json
from pathlib import Path

import pytest

from eocontrast.normalisation.audit_report import write_audit
from eocontrast.normalisation.gaps import gaps, read_report, summary
from eocontrast.runtime.errors import UserError


def test_gaps_are_in_the_audit(tmp_path: Path) -> None:
    causes = ["", "no s1 near in time", "clouds", "clouds"]
    patches = [{"id": f"p{n}", "cause": cause} for n, cause in enumerate(causes)]
    counts = {"asked": 4, "found": 1, "gaps": {"clouds": 2, "no s1 near in time": 1}}
    (tmp_path / "report.json").write_text(json.dumps({**counts, "patches": patches}))
    report = read_report(tmp_path)
    write_audit(tmp_path / "audit.json", gaps(report), 1, 0, summary(report))
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["catalogue"] == counts
    assert [(note["message"], note["ids"]) for note in audit["notes"]] == [
        ("no pair: no s1 near in time", ["p1"]),
        ("no pair: clouds", ["p2", "p3"]),
    ]


def test_sources_without_a_report_have_no_gaps(tmp_path: Path) -> None:
    assert gaps(read_report(tmp_path)) == []
    assert summary(read_report(tmp_path)) == {}


def test_damaged_report_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(UserError, match=r"report\.json is damaged"):
        read_report(tmp_path)
