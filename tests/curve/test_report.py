"""The report: its contents, and that it needs nothing but itself."""

import io
import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eocontrast.curve.report import report
from eocontrast.runtime.errors import UserError


def point(value: float, fraction: float = 1.0) -> dict[str, Any]:
    interval = {"value": value, "low": value - 0.25, "high": value + 0.25}
    return {"fraction": fraction, "n_labels": int(42 * fraction), **interval}


TASK = {
    "metric": "AA",
    "left_out": {"0.01": "too few <patches>"},
    "no_interval": [],
    "chosen": {"supervised": "auto", "pretrained": "auto"},
    "best_supervised": {"arm": "late", **point(0.625)},
    "supervised": {"late": [point(0.5, 0.5), point(0.625)]},
    "pretrained": {"dual": [point(0.75)]},
    "difference_to_best_supervised": {"dual": [point(0.125)]},
    "difference_at_same_labels": {"dual": [point(0.0625)]},
    "label_saving_factor": {"dual": {"value": 8.5, "low": 0, "high": 96, "at_least": True}},
}
ALONE = {k: v for k, v in TASK.items() if not k.startswith(("diff", "label"))} | {"pretrained": {}}
BY_CLASS = """\
task,arm,fraction,class,recall,F1,IoU,recall_sd,F1_sd,IoU_sd
single_label,late,0.5,<b>Moor</b> & heath,0.111,0.2,0.3,0.01,0.01,0.01
single_label,late,0.5,Water,,,,,,
single_label,late,1.0,<b>Moor</b> & heath,0.444,0.2,0.3,0.01,0.01,0.01
single_label,late,1.0,Water,,,,,,
"""
AUDIT = {
    "patches": 72,
    "quarantined": 1,
    "findings": [
        {"id": id, "rule": "size", "severity": "error", "message": "8 x 8"} for id in ("a", "a")
    ],
    "notes": [{"rule": "shift", "message": "no evidence", "ids": ["a", "b", "c"]}],
}
HEALTH = {
    "random": {"method": "random", "patches": 0, "epochs": None},
    "mma_vgg": {"method": "mma", "patches": 60, "epochs": 4, "spread": 0.71251, "loss": 2.0},
}


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """A folder with audits and figures."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/own.json").write_text(json.dumps(AUDIT))
    for name in ("label_curve", "qualitative"):
        (tmp_path / f"{name}.png").write_bytes(b"\x89PNG figure")
    return tmp_path


@pytest.fixture
def page(metrics: Path) -> Callable[..., str]:
    def draw(task: dict[str, Any] = TASK, source: str = "own") -> str:
        classes = pd.read_csv(io.StringIO(BY_CLASS))
        return report({"single_label": task}, classes, HEALTH, (source, source), metrics)

    return draw


class Elements(HTMLParser):
    """Start tags with their attributes, and that every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


def text_of(html: str) -> str:
    text = re.sub(r"<[^>]+>", " ", html.partition("<body>")[2]).replace("\N{EN DASH}", "none")
    return " ".join(text.replace("&nbsp;", " ").split())


def test_page_is_self_contained(page: Callable[..., str]) -> None:
    elements = Elements(page())
    keys = ("src", "href", "data")
    links = [a[key] or "" for _, a in elements.found for key in keys if key in a]
    assert len(links) == 3  # an empty icon and two figures
    assert all(link.startswith("data:") for link in links)
    assert not elements.of("script", "iframe", "object")
    assert not re.search(r"url\(|@import", page())


def test_page_is_accessible(page: Callable[..., str]) -> None:
    """Figures have texts, tables have heads and scroll by keyboard, no level is skipped."""
    elements = Elements(page())
    assert all(len(image["alt"] or "") > 20 for image in elements.of("img"))
    assert all(head.get("scope") in ("col", "row") for head in elements.of("th"))
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    before = [a for (_, a), (tag, _) in itertools.pairwise(elements.found) if tag == "table"]
    assert len(before) == 7
    assert all("tabindex" in attributes for attributes in before)


def test_equal_arguments_equal_bytes(page: Callable[..., str]) -> None:
    assert page() == page()


def test_page_opens_with_answer(page: Callable[..., str]) -> None:
    """The answer and the curve come before any table."""
    html = page()
    text = text_of(html)
    assert text.startswith(
        "How many labels does pretraining save? With 100 % of the labels (42 patches), dual reaches"
        " 0.75 AA; the supervised arm late reaches 0.62 with all 42 labels. The difference"
    )
    assert "<code>dual</code> reaches" in html
    assert html.index("<img") < html.index("<table")


def test_page_without_rivals(page: Callable[..., str]) -> None:
    text = text_of(page(ALONE))
    assert "No pretrained arm stands beside a supervised one." in text
    assert "Label-saving factor arm" not in text


def test_tables_hold_intervals(page: Callable[..., str]) -> None:
    text = text_of(page())
    head = "arm 50 % (21 labels) 100 % (42 labels)"
    assert "Label-saving factor arm factor dual at least 8.5 (0.0 to 96.0)" in text
    assert f"late, with all labels {head} dual none 0.125 (-0.125 to 0.375)" in text
    assert f"late, with as many labels {head} dual none 0.062 (-0.188 to 0.312)" in text
    assert f"{head} late 0.500 (0.250 to 0.750) 0.625 (0.375 to 0.875) dual none 0.750" in text
    assert "too few &lt;patches&gt;" in text


def test_class_names_escaped(page: Callable[..., str]) -> None:
    """The scores of a class without test patches are dashes."""
    text = text_of(page())
    assert "&lt;b&gt;Moor&lt;/b&gt; &amp; heath Water late 0.444 ± 0.010 none ± none" in text
    assert "0.111" not in text


def test_health_of_embeddings(page: Callable[..., str]) -> None:
    text = text_of(page())
    assert "random random none none none none none none none" in text
    assert "mma_vgg mma 60 4 2.000 0.713 none none none" in text


def test_findings_counted_by_patch(page: Callable[..., str]) -> None:
    text = text_of(page())
    assert "72 patches read, 1 left out" in text
    assert "size error 1 8 x 8 shift note 3 no evidence" in text


@pytest.mark.parametrize("name", ["audit/own.json", "qualitative.png"])
def test_missing_file_is_named(page: Callable[..., str], metrics: Path, name: str) -> None:
    (metrics / name).unlink()
    with pytest.raises(UserError, match=rf"cannot be read .*{name}.*dvc repro"):
        page()


def test_damaged_audit_is_refused(page: Callable[..., str], metrics: Path) -> None:
    (metrics / "audit/own.json").write_text("{")
    with pytest.raises(UserError, match=r"an audit or a figure in .* cannot be read"):
        page()


def test_simulated_data_is_marked(page: Callable[..., str], metrics: Path) -> None:
    assert "no evidence of how well" not in text_of(page())
    (metrics / "audit/own.json").rename(metrics / "audit/simulated.json")
    assert "no evidence of how well" in text_of(page(source="simulated"))
