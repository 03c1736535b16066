"""Numbers in pages follow the metrics of the same state."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eocontrast.curve import pages
from eocontrast.runtime.errors import UserError


def points(*scores: float) -> list[dict[str, Any]]:
    """Make an arm's points at 10 % (9 patches) and 100 % (90 patches)."""
    return [
        {"fraction": f, "n_labels": round(90 * f), "value": s, "low": s - 0.1, "high": s + 0.1}
        for f, s in zip((0.1, 1.0), scores, strict=True)
    ]


def summary(low: float = -0.05) -> dict[str, Any]:
    """Make results of one task with one arm of each kind."""
    gap = [{"fraction": f, "value": 0.06, "low": low, "high": 0.2} for f in (0.1, 1.0)]
    same = [{"fraction": f, "value": 0.26, "low": 0.1, "high": 0.4} for f in (0.1, 1.0)]
    factor = {"value": 4.2, "low": 0.0, "high": 10.0}
    task = {
        "metric": "AA",
        "no_interval": [],
        "chosen": {"supervised": "late", "pretrained": "dual_frozen"},
        "best_supervised": {"arm": "late", "n_labels": 90, "value": 0.5},
        "supervised": {"late": points(0.3, 0.5)},
        "pretrained": {"dual": points(0.45, 0.6), "dual_frozen": points(0.56, 0.55)},
        "difference_to_best_supervised": {"dual": gap, "dual_frozen": gap},
        "difference_at_same_labels": {"dual": same, "dual_frozen": same},
        "label_saving_factor": {"dual": factor, "dual_frozen": factor},
    }
    return {"single_label": task}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed project whose pages are what its metrics give."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "metrics/ombria").mkdir(parents=True)
    (tmp_path / "README.md").write_text(
        "before\n<!-- headline -->\nold\n<!-- /headline -->\nafter\n"
    )
    marked = "<!-- table single_label -->\n<!-- /table single_label -->\n"
    (tmp_path / "docs/results.md").write_text(marked)
    for run in ("", "ombria/"):
        (tmp_path / f"metrics/{run}summary.json").write_text(json.dumps(summary()))
    for figure in pages.FIGURES.values():
        (tmp_path / "metrics" / figure).write_bytes(figure.encode())
    monkeypatch.chdir(tmp_path)
    assert pages.main([]) == 0
    commit(tmp_path)
    return tmp_path


def commit(folder: Path) -> None:
    """Commit everything in a folder."""
    name = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*name, "commit", "-qm", "State")):
        subprocess.run(["git", *command], cwd=folder, check=True)


def test_headline_block_in_readme(project: Path) -> None:
    text = (project / "README.md").read_text()
    assert text.startswith("before\n<!-- headline -->\n**With 10 % of the labels (9 patches), ")
    assert text.endswith("<!-- /headline -->\nafter\n")
    for part in ("`dual_frozen` reaches 0.56 AA", "`late` reaches 0.50 with all 90 labels"):
        assert part in text
    assert "+0.060, with a 95 % interval from -0.050 to +0.200" in text
    assert "With the same 10 % of the labels, `late` reaches 0.30; the difference is +0.260" in text
    assert "Fine-tuned (`dual`), the score at 10 % is 0.45" in text


@pytest.mark.parametrize(("low", "words"), [(-0.05, "no sure difference"), (0.01, "above zero")])
def test_verdict_follows_interval(low: float, words: str) -> None:
    assert words in pages.headline_text(summary(low))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.05, 0.2, "were **not surely** above"),
        (0.01, 0.2, "were **better** than"),
        (-0.05, -0.01, "were **worse** than"),
        (None, None, "could not be compared with"),
    ],
)
def test_sign_follows_interval(low: float | None, high: float | None, words: str) -> None:
    start = "On the simulated scenes of the default run, 10 % of the labels after pretraining"
    for compared, first, second in (
        ("difference_to_best_supervised", words, "were **better** than"),
        ("difference_at_same_labels", "were **not surely** above", words),
    ):
        made = summary()
        for gap in made["single_label"][compared]["dual_frozen"]:
            gap |= {"low": low, "high": high}
        assert pages.sign_text(made) == (
            f"{start} {first} all labels without it, in classification. "
            f"They {second} the same labels without it, in classification.\n"
        )


def test_other_labels_are_not_taken_for_the_same() -> None:
    made = summary()
    del made["single_label"]["difference_at_same_labels"]["dual_frozen"][0]  # that at 10 %
    assert "They were" not in pages.sign_text(made)
    assert "With the same" not in pages.headline_text(made)


def test_tasks_of_one_answer_share_a_sentence() -> None:
    made = summary()
    made["segmentation"] = made["single_label"]
    assert pages.sign_text(made).endswith("in classification and segmentation.\n")
    assert pages.sign_text(made).count("On the simulated") == 1


def test_table_best_arm_first(project: Path) -> None:
    rows = (project / "docs/results.md").read_text().splitlines()
    assert rows[1] == "| AA (95 % interval) | 10 % (9) | 100 % (90) |"
    assert rows[3] == "| `dual` | 0.45 (0.35-0.55) | 0.60 (0.50-0.70) |"
    assert rows[5].startswith("| `late`, supervised |")


def test_check_ignores_working_tree(project: Path) -> None:
    (project / "metrics/summary.json").write_text("{}")
    (project / "README.md").write_text("mine")
    assert pages.main(["--check"]) == 0


@pytest.mark.parametrize(
    "changed", ["README.md", "metrics/summary.json", "metrics/label_curve.png"]
)
def test_check_finds_committed_difference(
    project: Path, changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / changed
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.7") + b"\n")
    if changed == "metrics/label_curve.png":
        path.write_bytes(b"another figure")
    commit(project)
    assert pages.main(["--check", "HEAD"]) == 1
    assert capsys.readouterr().out
    assert pages.main(["--check", "HEAD~1"]) == 0


def test_check_names_missing_file(project: Path) -> None:
    with pytest.raises(UserError, match=r"README\.md of nowhere cannot be read"):
        pages.main(["--check", "nowhere"])


def test_kept_run_has_own_markers(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    clone = tmp_path_factory.mktemp("clone")
    (clone / "metrics").mkdir()
    for name in pages.KEPT_FILES:
        (clone / "metrics" / name).write_text(f"{name} of another run")
    results = summary()
    results["single_label"]["supervised"]["late"] = points(0.11, 0.22)
    (clone / "metrics/summary.json").write_text(json.dumps(results))
    page = project / "docs/results.md"
    marked = "<!-- ombria table single_label -->\n<!-- /ombria table single_label -->\n"
    page.write_text(page.read_text() + marked)
    assert pages.main(["--keep", "ombria", "--of", str(clone)]) == 0
    default, kept = page.read_text().split("<!-- ombria table single_label -->")
    assert "0.22 (0.12-0.32)" in kept
    assert "0.22" not in default
    figure = (project / "docs/figures/ombria.png").read_text()
    assert figure == "label_curve.png of another run"
    commit(project)
    assert pages.main(["--check"]) == 0


def test_run_without_results_is_not_kept(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"summary\.json is missing; run `dvc repro`"):
        pages.main(["--keep", "ombria", "--of", str(tmp_path / "docs")])
