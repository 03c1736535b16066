import json
from pathlib import Path

from eocontrast.audit import Finding
from eocontrast.audit_report import audit_table, write_audit

FINDINGS = [
    Finding("a", "shift", "note", "no evidence"),
    Finding("b", "shift", "warning", "3 rows"),
    *(Finding(name, "size", "error", f"8 x 8 in {name}") for name in "cdef"),
    Finding("c", "unreadable", "error", "damaged"),
    Finding("b", "shift", "note", "no evidence"),
]


def test_the_worst_rule_comes_first_and_the_verdict_last() -> None:
    header, *rows, verdict = audit_table(FINDINGS, 9).splitlines()
    assert header.split()[:3] == ["rule", "severity", "patches"]
    found = [tuple(row.split()[:3]) for row in rows]
    assert found == [
        ("size", "error", "4"),
        ("unreadable", "error", "1"),
        ("shift", "warning", "1"),
        ("shift", "note", "2"),
    ]
    assert "c, d, e, ..." in rows[0]
    assert rows[0].endswith("8 x 8 in c")
    assert verdict == "audit: of 9 patches 4 cannot be used, 1 have a warning"


def test_columns_are_aligned() -> None:
    header, *rows, _ = audit_table(FINDINGS, 9).splitlines()
    example = header.index("for example")
    assert [row[example:] for row in rows] == ["8 x 8 in c", "damaged", "3 rows", "no evidence"]


def test_without_findings_there_is_the_verdict_alone() -> None:
    assert audit_table([], 3) == "audit: nothing is wrong with the 3 patches"


def test_nothing_is_dropped_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new/audit.json"
    write_audit(path, FINDINGS, 9)
    audit = json.loads(path.read_text())
    assert (audit["patches"], audit["quarantined"]) == (9, 4)
    assert [Finding(**f) for f in audit["findings"]] == [
        f for f in FINDINGS if f.severity != "note"
    ]
    assert audit["notes"] == [{"rule": "shift", "message": "no evidence", "ids": ["a", "b"]}]
    assert [file.name for file in path.parent.iterdir()] == ["audit.json"]
