"""An experiment runs in a copy of the project, and reads rasters that nobody tracks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from clones import clone_to, introduce, run, shrink_further
from test_class_names import write_pairs, write_table

pytestmark = [pytest.mark.slow]


def test_first_run_in_a_copy(tmp_path: Path) -> None:
    clone = clone_to(tmp_path / "clone", shrink_further)
    introduce(clone)
    (clone / "data/mine").mkdir()
    rows = write_pairs(clone / "data/mine")
    # the table is in git, and its rasters are not
    told = [
        [row[0], f"mine/{row[1]}", f"mine/{row[2]}", ("Forest", "Water")[k % 2], *row[4:]]
        for k, row in enumerate(rows)
    ]
    write_table(clone / "data/manifest.csv", told)
    words = ("dvc", "exp", "run", "--temp", "-S", "data.finetune=manifest", "normalise@manifest")
    said = run(clone, *words)
    assert f"{len(rows)} pairs of manifest" in said
    # the copy has gone; its list of pairs is in DVC's cache
    files = (file for file in (clone / ".dvc/cache").rglob("*") if file.is_file())
    (kept,) = [file for file in files if file.read_bytes().startswith(b"id,s1,s2,label")]
    table = pd.read_csv(kept)
    assert [Path(file) for file in table["s1"]] == [clone / "data" / row[1] for row in told]
