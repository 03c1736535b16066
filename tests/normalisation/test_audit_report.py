import json
from pathlib import Path

from eocontrast.normalisation.audit import Finding
from eocontrast.normalisation.audit_report import audit_table, write_audit

FINDINGS = [
    Finding("a", "shift", "note", "no evidence"),
    Finding("b", "shift", "warning", "3 rows"),
    *(Finding(name, "size", "error", f"8 x 8 in {name}") for name in "cdef"),
    Finding("c", "unreadable", "error", "damaged"),
    Finding("b", "shift", "note", "no evidence"),
]


def test_the_worst_rule_comes_first_and_the_verdict_last() -> None:
    header, *lines, verdict = audit_table(FINDINGS, 9).splitlines()
    assert header.split()[:3] == ["rule", "severity", "patches"]
    found = [tuple(row.split()[:3]) for row in lines[::2]]
    assert found == [
        ("size", "error", "4"),
        ("unreadable", "error", "1"),
        ("shift", "warning", "1"),
        ("shift", "note", "2"),
    ]
    assert lines[0].endswith("c, d, e, ...")
    assert lines[1] == "    for example: 8 x 8 in c"
    assert verdict == "audit: of 9 patches 4 cannot be used, 1 have a warning"


def test_columns_are_aligned() -> None:
    header, *lines, _ = audit_table(FINDINGS, 9).splitlines()
    ids = header.index("first ids")
    assert [row[ids:] for row in lines[::2]] == ["c, d, e, ...", "c", "b", "a, b"]


def test_lines_stay_short_where_names_and_paths_are_long() -> None:
    name, path = "ROIs0000_autumn_BandarAnzali_p1277", "/data/" + "folder/" * 12
    said = [Finding(f"{name}{n}", "unreadable", "error", path + " no data" * 50) for n in range(9)]
    _, row, example, _ = audit_table(said, 9).splitlines()
    assert len(row) < 160
    assert example.startswith(f"    for example: {path}")
    assert example.endswith(" ...")


def test_without_findings_there_is_the_verdict_alone() -> None:
    assert audit_table([], 3) == "audit: nothing is wrong with the 3 patches"


def test_nothing_is_dropped_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new/audit.json"
    write_audit(path, FINDINGS, 9, 5)
    audit = json.loads(path.read_text())
    assert (audit["patches"], audit["quarantined"], audit["shift_searched"]) == (9, 4, 5)
    assert [Finding(**f) for f in audit["findings"]] == [
        f for f in FINDINGS if f.severity != "note"
    ]
    assert audit["notes"] == [{"rule": "shift", "message": "no evidence", "ids": ["a", "b"]}]
    assert [file.name for file in path.parent.iterdir()] == ["audit.json"]
