"""The page of results: what it says, and that it needs nothing but itself."""

import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eocontrast.curve.report import Beside, render, render_times
from eocontrast.curve.report_contents import Contents, read_contents
from eocontrast.curve.report_times import Times, duration
from eocontrast.runtime.errors import UserError
from eocontrast.tracking.card_scores import leading_card
from eocontrast.tracking.runs import StageTime

RUNS = ("random", "dual_simclr")
PNG = b"\x89PNG figure"
TIMES = {
    "download@own": StageTime(
        7.4, "EPYC, 2 cores", "2.13.0", "0123456789abcdef", "2026-01-02 03:04"
    ),
    "pretrain@dual_simclr": StageTime(125, "<H100>; EPYC", "2.13.0", "unknown", "2026-01-02 03:05"),
    "evaluate": None,
}
BESIDE = Beside("report_runs.html", stages=3)


def point(value: float, fraction: float = 1.0) -> dict[str, Any]:
    interval = {"value": value, "low": value - 0.25, "high": value + 0.25}
    return {"fraction": fraction, "n_labels": int(42 * fraction), **interval}


SUMMARY = {
    "single_label": {
        "metric": "AA",
        "left_out": {"0.01": "too few <patches>"},
        "best_supervised": {"arm": "late", **point(0.625)},
        "supervised": {"late": [point(0.5, 0.5), point(0.625)]},
        "pretrained": {"dual": [point(0.75)]},
        "difference_to_best_supervised": {"dual": [point(0.125)]},
        "difference_at_same_labels": {"dual": [point(0.0625)]},
        "label_saving_factor": {"dual": {"value": 8.5, "low": 0, "high": 96, "at_least": True}},
    }
}
BY_CLASS = """\
task,arm,fraction,class,recall,F1,IoU,recall_sd,F1_sd,IoU_sd
single_label,late,0.5,<b>Moor</b> & heath,0.111,0.2,0.3,0.01,0.01,0.01
single_label,late,0.5,Water,,,,,,
single_label,late,1.0,<b>Moor</b> & heath,0.444,0.2,0.3,0.01,0.01,0.01
single_label,late,1.0,Water,0.555,0.2,0.3,0.01,0.01,0.01
"""
AUDIT = {
    "patches": 72,
    "quarantined": 1,
    "findings": [
        {"id": id, "rule": "size", "severity": "error", "message": "8 x 8"} for id in ("a", "a")
    ],
    "notes": [{"rule": "shift", "message": "no evidence", "ids": ["a", "b", "c"]}],
}


@pytest.fixture
def folder(tmp_path: Path, tiny_inits: dict[str, Path]) -> Path:
    """What the stages leave: `metrics` and `pretrained`."""
    metrics, pretrained = tmp_path / "metrics", tmp_path / "pretrained"
    for path in (metrics / "audit", pretrained):
        path.mkdir(parents=True)
    (metrics / "summary.json").write_text(json.dumps(SUMMARY))
    (metrics / "per_class.csv").write_text(BY_CLASS)
    (metrics / "audit/own.json").write_text(json.dumps(AUDIT))
    for name in ("label_curve", "qualitative"):
        (metrics / f"{name}.png").write_bytes(PNG)
    for name, file in tiny_inits.items():
        (pretrained / f"{name}.safetensors").write_bytes(file.read_bytes())
    return tmp_path


def contents_of(folder: Path, source: str = "own") -> Contents:
    metrics, pretrained, inits = folder / "metrics", folder / "pretrained", {"dual": "dual_simclr"}
    file = metrics / "summary.json"
    card = leading_card(json.loads(file.read_text()), pretrained, inits) if file.exists() else ""
    return read_contents(metrics, pretrained, source, source, RUNS, card)


@pytest.fixture
def page(folder: Path) -> Callable[..., str]:
    def draw(ran: Times | Beside = BESIDE) -> str:
        return render(contents_of(folder), ran)

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


def test_the_page_needs_nothing_but_itself(page: Callable[..., str]) -> None:
    elements = Elements(page(TIMES))
    keys = ("src", "href", "data")
    links = [a[key] or "" for _, a in elements.found for key in keys if key in a]
    assert len(links) > 8
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not elements.of("script", "iframe")
    assert not re.search(r"url\(|@import", page())
    ids = {attributes.get("id") for _, attributes in elements.found}
    assert {link[1:] for link in links if link.startswith("#")} <= ids


def test_it_can_be_read_by_ear_and_on_a_phone(page: Callable[..., str]) -> None:
    elements = Elements(page(TIMES))
    assert all(len(image["alt"] or "") > 20 for image in elements.of("img"))
    assert all(head.get("scope") in ("col", "row") for head in elements.of("th") if head)
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    tags = [tag for tag, attributes in elements.found if tag != "div" or "tabindex" in attributes]
    assert [tags[n - 1] for n, tag in enumerate(tags) if tag == "table"] == (
        ["div"] * tags.count("table")
    )


def test_equal_files_give_equal_bytes(page: Callable[..., str]) -> None:
    assert page() == page()


def test_the_page_shows_the_times_that_lie_beside_it(page: Callable[..., str]) -> None:
    """Times differ from run to run, and the page that DVC tracks does not."""
    elements = Elements(page())
    (shown,) = elements.of("object")
    assert (shown["data"], shown["type"]) == ("report_runs.html", "text/html")
    assert f"height: {2.1 * 3 + 15:g}rem" in (shown["style"] or "")
    assert {attributes.get("href") for attributes in elements.of("a")} >= {"#ran"}
    assert "metrics/report_runs.html" in text_of(page())
    assert "2 min" not in page()


ROWS = (
    "download@own 7 s 2026-01-02 03:04 EPYC, 2 cores 2.13.0 01234567 "
    "pretrain@dual_simclr 2 min 5 s 2026-01-02 03:05 &lt;H100&gt;; EPYC 2.13.0 unknown "
    "evaluate none none none none none"
)


@pytest.mark.parametrize("where", ["beside", "mlflow"])
def test_times_and_machines_are_told(page: Callable[..., str], where: str) -> None:
    html = render_times(TIMES) if where == "beside" else page(TIMES)
    said = text_of(html)
    assert ROWS in said
    assert "In all 2 min 12 s" in said
    assert "A dash stands where" in said
    assert not Elements(html).of("object")
    assert 'style="--share:0.059"' in html  # 7.4 of 125


def test_all_stages_that_ran_need_no_word_on_dashes() -> None:
    said = text_of(render_times({"download@own": TIMES["download@own"]}))
    assert "A dash" not in said
    assert "In all 7 s" in said
    assert "In all" not in text_of(render_times({"evaluate": None}))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "0 s"),
        (59.6, "1 min 0 s"),
        (843, "14 min 3 s"),
        (3600, "1 h 0 min"),
        (9000, "2 h 30 min"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_the_headline_has_intervals(page: Callable[..., str]) -> None:
    said = text_of(page())
    assert "late : 0.625 (0.375 to 0.875) on 42 labelled patches" in said
    assert "dual : at least 8.5 (0.0 to 96.0)" in said
    assert "arm 50 % (21 labels) 100 % (42 labels) dual none 0.125 (-0.125 to 0.375)" in said
    assert "dual none 0.062 (-0.188 to 0.312)" in said
    assert "too few &lt;patches&gt;" in said


def test_classes_are_named_and_escaped(page: Callable[..., str]) -> None:
    said = text_of(page())
    assert "&lt;b&gt;Moor&lt;/b&gt; &amp; heath Water late 0.444" in said
    assert "late 0.111 ± 0.010 none ± none" in said


def test_embeddings_tell_the_health_that_the_weights_carry(
    page: Callable[..., str], tiny_inits: dict[str, Path]
) -> None:
    from eocontrast.models.weights import Pretrained

    found = Pretrained.load(tiny_inits["dual_simclr"])
    names = ("loss", "spread", "mean_cosine", "effective_rank", "retrieval_top1")
    shown = " ".join(f"{found.health[name]:.3f}" for name in names)
    assert f"dual_simclr dual_simclr {found.patches} 4 {shown}" in text_of(page())
    assert "random random none none none none none none none" in text_of(page())


def test_findings_are_counted_by_patch(page: Callable[..., str]) -> None:
    said = text_of(page())
    assert "72 patches read, 1 left out" in said
    assert "size error 1 8 x 8 shift note 3 no evidence" in said


def test_the_backbones_that_save_most_have_their_card(
    page: Callable[..., str], folder: Path
) -> None:
    said = text_of(page())
    assert "pretrained by dual_simclr" in said
    assert "dual single_label AA 1.0 42 0.750 0.500 to 1.000" in said
    assert "Intended use and limits" in said
    assert "Provenance" not in said
    without = {"single_label": {**SUMMARY["single_label"], "label_saving_factor": {}}}
    (folder / "metrics/summary.json").write_text(json.dumps(without))
    assert "Intended use and limits" not in text_of(page())
    assert "#model" not in page()


def test_a_missing_file_is_named(page: Callable[..., str], folder: Path) -> None:
    (folder / "metrics/summary.json").unlink()
    with pytest.raises(UserError, match=r"summary\.json cannot be read.*dvc repro"):
        page()


def test_damaged_metrics_are_named(page: Callable[..., str], folder: Path) -> None:
    (folder / "metrics/audit/own.json").write_text("{")
    with pytest.raises(UserError, match=r"own\.json cannot be read"):
        page()


def test_simulated_data_are_called_that(page: Callable[..., str], folder: Path) -> None:
    assert "no evidence of how well" not in text_of(page())
    (folder / "metrics/audit/own.json").rename(folder / "metrics/audit/simulated.json")
    assert "no evidence of how well" in text_of(render(contents_of(folder, "simulated"), BESIDE))
