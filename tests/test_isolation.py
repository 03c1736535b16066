"""Tests do not read what a user's run or a user's edit changed."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from clones import ROOT, run
from ruamel.yaml import YAML

QUICK = (
    "tests/config",
    "tests/curve/test_pages.py",
    "tests/test_documents.py",
    "tests/test_dvc_yaml.py",
    "tests/test_experiments.py",
)
"""Tests of files that lie beside params.yaml and metrics/."""


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A clone after a run with other parameters, whose results were not committed."""
    clone = tmp_path / "clone"
    run(ROOT, "git", "clone", "-q", str(ROOT), str(clone))
    for name in filter(None, run(ROOT, "git", "diff", "--name-only", "HEAD").splitlines()):
        if (ROOT / name).is_file():  # as it is now, committed or not
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    yaml = YAML()
    params = yaml.load(clone / "params.yaml")
    params["data"]["finetune"] = "dfc2020"
    params["finetune"] |= {"arm": "mma_frozen", "fraction": 0.1}
    params["label_curve"] |= {
        "fractions": [0.5, 1.0],
        "seeds": [7],
        "more_seeds": [],
        "headline": {},
        "ensembles": {},
    }
    del params["label_curve"]["arms"]["dual_simclr_swin"]
    yaml.dump(params, clone / "params.yaml")
    for file in (clone / "metrics").rglob("*"):
        if file.suffix in (".json", ".csv", ".md", ".html"):
            file.write_text(re.sub(r"\d", "7", file.read_text()))
        elif file.is_file():
            file.unlink()
    (clone / "data/manifest.csv").write_text("id,s1,s2,label\nmine,a.tif,b.tif,c\n")
    return clone


@pytest.mark.slow
def test_changed_clone_passes(changed: Path) -> None:
    pytest_command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist")
    collected = run(changed, *pytest_command, "--collect-only", "-m", "")
    assert "error" not in collected.lower().splitlines()[-1]
    assert int(re.findall(r"(\d+) tests collected", collected)[-1]) > 1000
    run(changed, *pytest_command, *QUICK)
