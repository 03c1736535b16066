"""Rules that only all patches of a data set together can break."""

import re
from typing import Any

import pandas as pd
import pytest

from eocontrast.modalities import SENTINEL1, Modality, Sensor
from eocontrast.normalisation.dataset import (
    audit_dataset,
    refuse_empty_splits,
    split_gaps,
    split_table,
)
from eocontrast.normalisation.pairs import Patch
from eocontrast.rasters.source import Source
from eocontrast.rasters.values import Declared, Offset
from eocontrast.runtime.errors import UserError

DIGITAL = Modality(("B02", "B08"), "DN", (0, 10000))
CLASSES = {"Forest": 1, "Water": 2}


def source(offset: Offset = "auto") -> Source:
    files: dict[Sensor, Declared] = {"s1": Declared(), "s2": Declared(offset=offset)}
    return Source(SENTINEL1, DIGITAL, CLASSES, {}, pd.DataFrame(), files=files)


def dark(*least: float, stated: int = 0) -> list[Patch]:
    """Return patches with these dark ends, of which the first ones state an offset."""
    evidence: list[dict[str, Any]] = [
        {
            "dark": [[100] * 2, *([100 * (v < limit)] * 2 for limit in (700, 900, 1500))],
            "offset": ["header", "auto"] if k < stated else None,
        }
        for k, v in enumerate(least)
    ]
    return [Patch(f"p{k}", "train", [], evidence=e) for k, e in enumerate(evidence)]


@pytest.mark.parametrize(
    ("least", "rule"),
    [
        ((1050, 80, 1100, 60, 1020, 90), ("p0", "p2", "p4")),
        ((1004, 1003, 1010), ("p0", "p1", "p2")),
        ((1200, 1300, 15, 20, 1100, 30, 10), ("p0", "p1", "p4")),
        ((80, 300, 700, 900, 1100, 1300), ()),
        ((2000, 2500, 1600), ()),
        ((15, 60, 400), ()),
    ],
)
def test_offset_is_a_step(least: tuple[float, ...], rule: tuple[str, ...]) -> None:
    findings = audit_dataset(source(), dark(*least))
    assert tuple(f.id for f in findings) == rule
    assert {(f.rule, f.severity) for f in findings} <= {("offset", "error")}
    # the user's word is not refused, but two kinds of products are named
    declared = audit_dataset(source(-1000), dark(*least))
    mixed = rule if min(least) < 900 else ()
    assert [(f.id, f.severity) for f in declared] == [(name, "warning") for name in mixed]


def test_stated_offsets_are_shown() -> None:
    findings = audit_dataset(source(), dark(80, 90, 60, 70, stated=2))
    assert [(f.id, f.severity) for f in findings] == [("p0", "warning"), ("p1", "warning")]
    assert "2 patches (p2, p3) have none" in findings[0].message


@pytest.mark.parametrize(
    ("below", "by", "found"),
    [(0.6, "header", True), (0.6, "product", True), (0.1, "header", False), (0.6, "user", False)],
)
def test_offset_that_was_taken_off_before(below: float, by: str, found: bool) -> None:
    evidence = {"offset": [by, -1000.0], "below": below}
    patches = [Patch("p0", "train", [], evidence=evidence)]
    errors = [f for f in audit_dataset(source(), patches) if f.severity == "error"]
    assert [f.rule for f in errors] == ["offset"] * found
    assert all("too low to hold it" in f.message for f in errors)


def masks(*values: dict[int, int]) -> list[Patch]:
    evidence: list[dict[str, Any]] = [{"values": {str(k): n for k, n in v.items()}} for v in values]
    return [Patch(f"p{k}", "train", [], evidence=e) for k, e in enumerate(evidence)]


@pytest.mark.parametrize(
    ("values", "severity", "message"),
    [
        (({1: 50, 2: 50}, {1: 100}), None, ""),
        (({1: 900, 2: 100, 7: 5},), None, ""),
        (({1: 50, 2: 50}, {1: 60, 3: 40}), "warning", r"3 \(20.0%\)"),
        (({10: 50, 80: 50},), "error", "ESA WorldCover"),
        (({0: 50, 255: 50}, {0: 100}), "error", "0 and 255"),
        (({0: 50, 1: 50},), "error", "one below"),
    ],
)
def test_values_without_class(
    values: tuple[dict[int, int], ...], severity: str | None, message: str
) -> None:
    findings = audit_dataset(source(), masks(*values))
    assert {f.severity for f in findings} == ({severity} if severity else set())
    if severity:
        assert findings[0].rule == "mask_values"
        assert re.search(message, findings[0].message)


@pytest.mark.parametrize(
    ("value", "pixels", "severity"),
    [
        (3, 40, "warning"), (1, 40, "warning"), (3, 1, "note"), (0, 40, "note"), (255, 40, "note"),
        (-9999, 40, "note"), (65535, 40, "note"),
    ],
)  # fmt: skip
def test_values_that_headers_hide(value: int, pixels: int, severity: str) -> None:
    evidence = {"values": {"1": 160 - pixels, "2": 40}, "hidden": [float(value), pixels]}
    patches = [Patch("p0", "train", [], evidence=evidence), *masks({1: 50, 2: 50})]
    (finding,) = audit_dataset(source(), patches)
    assert (finding.id, finding.rule, finding.severity) == ("p0", "mask_values", severity)
    assert f"declare {value} as no data, which hides {pixels / 300:.1%}" in finding.message
    # ends of types are no classes
    assert ("unset it" in finding.message) == (value not in (-9999, 65535))


@pytest.mark.parametrize(
    ("values", "hidden", "said"),
    [
        ({1: 50}, 0, "With it, all values are one below"),
        ({2: 50}, 3, "With it, all values are one above"),
        ({1: 50, 2: 50}, 0, ""),
    ],
)
def test_hidden_class_of_shifted_masks(values: dict[int, int], hidden: int, said: str) -> None:
    (patch,) = masks(values)
    patch.evidence["hidden"] = [float(hidden), 50]
    (finding,) = audit_dataset(source(), [patch])
    assert finding.severity == ("warning" if said else "note")
    assert said in finding.message


def labelled(*rows: tuple[str, str, int]) -> list[Patch]:
    """Return patches of these splits, groups and classes."""
    return [
        Patch(
            f"p{k}", split, [],
            facts={"split": split, "group": group, "label": label,
                   "share_0": float(label == 0), "share_1": float(label == 1)},
        )
        for k, (split, group, label) in enumerate(rows)
    ]  # fmt: skip


BOTH = [("train", "a", 0), ("train", "a", 1), ("test", "b", 0), ("test", "c", 1)]


@pytest.mark.parametrize(
    ("rows", "errors", "warnings"),
    [
        (BOTH, [], []),
        (BOTH[:2], ["no labelled patch is in the split test"], []),
        ([("train", "a", 0), ("test", "b", 0), ("test", "c", 0)], ["only one class"], []),
        ([*BOTH[:3], ("test", "c", 0)], [], ["class 'Water' has no patch in the split test"]),
        ([*BOTH[:3], ("test", "b", 1)], [], ["the split test has one group"]),
        ([("train", "a", -1), ("test", "b", -1)], ["no patch has a label"], []),
    ],
)
def test_gaps_of_splits(
    rows: list[tuple[str, str, int]], errors: list[str], warnings: list[str]
) -> None:
    gaps = split_gaps(split_table(labelled(*rows), [*CLASSES]))
    for lines, beginnings in zip(gaps, (errors, warnings), strict=True):
        assert len(lines) == len(beginnings)
        assert all(line.startswith(begin) for line, begin in zip(lines, beginnings, strict=True))


@pytest.mark.parametrize("split", [["train", "train"], ["test", "test"], ["pretrain", "pretrain"]])
def test_empty_splits_stop_early(split: list[str]) -> None:
    with pytest.raises(UserError, match="no labelled patch is in the split"):
        refuse_empty_splits(pd.DataFrame({"label": ["Forest", "Water"], "split": split}))
