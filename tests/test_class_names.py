"""Class names as data sets have them come out of every stage as they went in."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from clones import mlflow_runs, shrink_further
from mlflow import MlflowClient
from raster_files import write_raster
from ruamel.yaml import YAML
from shipped import PARAMS
from test_layouts import call, settle

from eocontrast.cli.main import main
from eocontrast.models.weight_files import load_weights
from eocontrast.patches.store import PatchStore
from eocontrast.training import devices

pytestmark = [pytest.mark.slow]

NAMES = (
    "Sea & Lake",
    "Beaches, dunes, sands (coast)",
    "NA",
    "n/a",
    "Urban/Built-up",
    "Äcker 草地 🌾",
    "a $x_1$ <b>bold</b> {{ 7 }} 100 %",
    '"quoted" \\ back',
    "x" * 250,
)
SIDE = 32


def write_pairs(folder: Path) -> list[list[str]]:
    """Write pairs whose brightness shows the class; every second label is a mask, others names."""
    rows, draws = [], np.random.default_rng(0)
    for number in range(8 * len(NAMES)):
        label, turn = number % len(NAMES), number // len(NAMES)
        split = ("train", "test", "train", "test", "pretrain", "train", "test", "train")[turn]
        place: dict[str, Any] = {
            "crs": "EPSG:32633",
            "transform": Affine(10, 0, 1e5 + 500 * number, 0, -10, 5e6),
        }
        s2 = draws.normal(300 + 250 * label, 60, (4, SIDE, SIDE)).clip(1).astype(np.uint16)
        s1 = draws.normal(-25 + 2 * label, 1, (2, SIDE, SIDE)).astype(np.float32)
        write_raster(folder / f"{number}_s1.tif", s1, **place)
        write_raster(folder / f"{number}_s2.tif", s2, **place)
        told = NAMES[label]
        if turn % 4 < 2:
            told = f"{number}_mask.tif"
            write_raster(folder / told, np.full((1, SIDE, SIDE), label + 1, np.uint8), **place)
        files = (f"{number}_s1.tif", f"{number}_s2.tif")
        rows.append([f"p{number}", *files, told, f"g{number}", split])
    return rows


def write_table(path: Path, rows: list[list[str]]) -> None:
    header = ["id", "s1", "s2", "label", "group", "split"]
    if path.suffix == ".parquet":
        pd.DataFrame(rows, columns=header).to_parquet(path)
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.mark.parametrize("table", ["manifest.csv", "manifest.parquet"])
def test_names_pass_every_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    settle(monkeypatch, tmp_path)
    data = tmp_path / "pairs"
    data.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    write_table(data / table, write_pairs(data))
    params = YAML().load(PARAMS)
    shrink_further(params)
    params["label_curve"] |= {"fractions": [0.3, 0.6, 1.0], "seeds": [0], "more_seeds": []}
    params["data"] |= {"pretrain": "manifest", "finetune": "manifest"}
    values = {name: number for number, name in enumerate(NAMES, start=1)}
    params["sources"]["manifest"] |= {"path": str(data / table), "classes": values}
    YAML().dump(params, tmp_path / "params.yaml")
    call("download", "manifest", "raw", "listed")
    call("normalise", "listed", "store", "metrics/audit/manifest.json")
    store = PatchStore(Path("store"))
    assert store.classes == NAMES
    numbers = store.index["id"].str.removeprefix("p").astype(int)
    assert (store.index["label"] == numbers % len(NAMES)).all()
    if table == "manifest.parquet":
        return  # the store is the same from here on
    learn(params["pretrain"]["runs"])
    check_results(values)
    check_mlflow()
    check_map(data)


def learn(runs: list[str], store: str = "store") -> None:
    """Run every stage after `normalise`."""
    for init in runs:
        call("pretrain", init, store, f"pretrained/{init}.safetensors")
    call("finetune", "single", store, "pretrained", "single")
    call("evaluate", "single", store, "single", "metrics")
    for init in yaml("params.yaml")["label_curve"]["arms"]:
        call("finetune", init, store, "pretrained", f"grid/{init}")
    call("evaluate", "grid", store, "grid", "metrics")
    call("label_curve", "metrics", "pretrained")


def yaml(path: str) -> dict[str, dict[str, list[str]]]:
    parsed: dict[str, dict[str, list[str]]] = YAML(typ="safe").load(Path(path))
    return parsed


def check_results(values: dict[str, int]) -> None:
    """Compare the names in tables, weights, figures and report."""
    for file in Path().rglob("1.0-0.safetensors"):
        assert tuple(load_weights(file)[1]["classes"]) == tuple(values)
    for name, column in (
        ("test_classes", "class"),
        ("test_confusion", "actual"),
        ("per_class", "class"),
    ):
        assert set(pd.read_csv(f"metrics/{name}.csv", keep_default_na=False)[column]) == set(NAMES)
    confusion = pd.read_csv("metrics/test_confusion.csv", keep_default_na=False)
    assert set(confusion["predicted"]) <= set(NAMES)
    for figure in ("label_curve", "qualitative"):
        assert Path(f"metrics/{figure}.png").read_bytes().startswith(b"\x89PNG")
    shown = html.unescape(re.sub(r"<[^>]*>", " ", Path("metrics/report.html").read_text()))
    text = " ".join(shown.split())
    for name in NAMES:
        assert " ".join(name.split()) in text, name
    assert "<b>bold</b>" not in Path("metrics/report.html").read_text()
    assert main(["plan", "--target", "0.5", "-o", "plan.png"]) == 0


def check_mlflow() -> None:
    """Every class has a recall of its own, and no name opens a section of charts."""
    (single,) = [r for r in mlflow_runs(Path.cwd()) if r.data.params.get("arm") == "single"]
    recalls = [name for name in single.data.metrics if name.startswith("test.recall.")]
    assert len(recalls) == len(NAMES)
    assert not [name for name in recalls if "/" in name]
    client = MlflowClient(tracking_uri=f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    kept = {file.path for file in client.list_artifacts(single.info.run_id)}
    assert kept == {"card.md", "confusion.png"}


def check_map(data: Path) -> None:
    """The map names its classes, and the polygons do."""
    assert not devices._has_bf16()  # a process keeps its precision
    model = next(Path("grid").rglob("unet/1.0-0.safetensors"))
    arguments = ["--s1", str(data / "0_s1.tif"), "--s2", str(data / "0_s2.tif")]
    command = ["predict", str(model), *arguments, "-o", "map.tif", "--polygons", "map.gpkg"]
    assert main([*command, "--probabilities"]) == 0
    with rasterio.open("map_probabilities.tif") as raster:
        assert raster.descriptions == NAMES
    import geopandas

    assert set(geopandas.read_file("map.gpkg")["class"]) <= set(NAMES)
    text = html.unescape(Path("map.tif.aux.xml").read_text())
    assert [name for name in NAMES if name in text] == [*NAMES]
