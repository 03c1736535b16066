"""Data too few for an interval go through every stage, and each page says what cannot be said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from affine import Affine
from clones import shrink_further
from raster_files import write_raster
from ruamel.yaml import YAML
from shipped import PARAMS
from test_class_names import learn
from test_layouts import call, settle

from eocontrast.cli.main import main

pytestmark = [pytest.mark.slow]

CLASSES = ("field", "wood", "water")
SIDE = 32


def write_pairs(folder: Path, kind: str) -> Path:
    """Write a table of 24 training and 12 test pairs that lack what `kind` says."""
    rows, draws = [], np.random.default_rng(0)
    for number in range(36):
        label, split = number % 3, "test" if number >= 24 else "train"
        if kind == f"not_in_{split}" and label == 2:
            label = 0
        place: dict[str, Any] = {
            "crs": "EPSG:32633",
            "transform": Affine(10, 0, 1e5 + 500 * number, 0, -10, 5e6),
        }
        s2 = draws.normal(500 + 700 * label, 60, (4, SIDE, SIDE)).clip(1).astype(np.uint16)
        s2[0] = draws.normal(300, 30, (SIDE, SIDE)).clip(1)  # without the offset of 1000
        s1 = draws.normal(-22 + 5 * label, 1, (2, SIDE, SIDE)).astype(np.float32)
        write_raster(folder / f"{number}_s1.tif", s1, **place)
        write_raster(folder / f"{number}_s2.tif", s2, **place)
        group = "all" if kind == "one_group" and split == "test" else f"g{number}"
        files = (f"{number}_s1.tif", f"{number}_s2.tif")
        rows.append([f"p{number}", *files, CLASSES[label], group, split])
    header = ["id", "s1", "s2", "label", "group", "split"]
    pd.DataFrame(rows, columns=header).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("one_group", "the test split has 1 group"),
        ("not_in_train", "water"),
    ],
)
def test_no_interval_and_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    reason: str,
) -> None:
    settle(monkeypatch, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    params = YAML().load(PARAMS)
    shrink_further(params)
    params["label_curve"] |= {"fractions": [0.25, 0.5, 1.0], "seeds": [0, 1], "more_seeds": []}
    params["data"] |= {"pretrain": "manifest", "finetune": "manifest"}
    table = write_pairs(tmp_path, kind)
    values = {name: number for number, name in enumerate(CLASSES, start=1)}
    params["sources"]["manifest"] |= {"path": str(table), "classes": values}
    YAML().dump(params, tmp_path / "params.yaml")
    call("download", "manifest", "raw", "listed")
    store = str(tmp_path / "store")  # workers that outlive a test keep stores open by their paths
    call("normalise", "listed", store, "metrics/audit/manifest.json")
    learn(params["pretrain"]["runs"], store)
    said = capfd.readouterr().err
    assert "no interval can be given" in said
    assert reason in said
    task = json.loads(Path("metrics/summary.json").read_text())["single_label"]
    assert all(point["low"] is None for arm in task["supervised"].values() for point in arm)
    assert reason in json.dumps(task["no_interval"])
    assert "cannot be said" in Path("metrics/report.html").read_text()
    assert Path("metrics/label_curve.png").read_bytes().startswith(b"\x89PNG")
    assert main(["plan", "--target", "0.5", "-o", "plan.png"]) == 0
