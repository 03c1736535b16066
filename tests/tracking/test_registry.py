"""What is registered is served by MLflow's own commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from eocontrast.patches.store import PatchStore
from eocontrast.tracking.registry import register, registered_name
from eocontrast.tracking.served import Served
from eocontrast.tracking.tracker import Tracker

NAME = registered_name("single_label")


@pytest.fixture
def registered(
    mixed_store: PatchStore,
    write_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, Path, str]:
    """URI of the tracking store, the weights, and the run that they belong to."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    file = write_model(mixed_store)
    with Tracker("evaluate").start("single", {"arm": "single"}) as run:
        run.log({"test.AA": 0.5})
        for _ in range(2):  # as after a kill
            assert register(run, "single", file, mixed_store) == f"models:/{NAME}/1, alias champion"
    return uri, file, run.run_id


def test_registered_model_equals_file(
    registered: tuple[str, Path, str], mixed_store: PatchStore
) -> None:
    uri, file, run_id = registered
    client = MlflowClient(uri)
    version = client.get_model_version(NAME, "1")
    assert (version.status, version.run_id) == ("READY", run_id)
    labels = len(mixed_store.labelled("train"))
    assert version.description == f"random_resnet, {labels} labels, seed 0, single_label"
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    (logged,) = client.search_logged_models([client.get_run(run_id).info.experiment_id])
    assert {metric.key: metric.value for metric in logged.metrics or []} == {"test.AA": 0.5}
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    assert model.metadata.metadata["classes"] == ["Forest", "Urban", "Water"]
    assert model.metadata.metadata["inputs"]["s2"]["units"] == "DN"
    taken = {spec.name: (str(spec.type), spec.shape) for spec in model.metadata.signature.inputs}
    assert taken == {"s1": ("float32", (-1, 2, 16, 16)), "s2": ("float32", (-1, 4, 16, 16))}
    rows = mixed_store.labelled("test")
    images = {
        s: mixed_store.specs[s].modality.decode(mixed_store.read(s, rows)) for s in ("s1", "s2")
    }
    np.testing.assert_array_equal(model.predict(images), Served(file).predict(images))
    names = {path.name for path in Path("mlartifacts").rglob("*") if path.is_file()}
    assert {"MLmodel", "model.safetensors", "input_example.json"} <= names
    assert not [name for name in names if Path(name).suffix in (".pkl", ".pickle", ".pt", ".pth")]


@pytest.mark.slow  # two interpreters that import torch and MLflow
def test_mlflow_command_predicts(
    registered: tuple[str, Path, str], mixed_store: PatchStore, tmp_path: Path
) -> None:
    _, file, _ = registered
    images, _ = Served(file).example(mixed_store)
    content: dict[str, Any] = {"inputs": {s: values.tolist() for s, values in images.items()}}
    given, out = tmp_path / "images.json", tmp_path / "said.json"
    given.write_text(json.dumps(content))
    command = f"models predict -m models:/{NAME}/1 -i {given} -t json -o {out}"
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", *command.split(), "--env-manager", "local"],
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(out.read_text())["predictions"]
    np.testing.assert_allclose(said, Served(file).predict(images), atol=1e-6)


@pytest.mark.slow  # a second interpreter that imports torch and MLflow
def test_champion_of_a_moved_project(
    registered: tuple[str, Path, str],
    mixed_store: PatchStore,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It loads from the new place, where new runs are kept too; nothing returns to the old one."""
    images, expected = Served(registered[1]).example(mixed_store)
    moved = tmp_path_factory.mktemp("elsewhere") / "project"
    tmp_path.rename(moved)
    np.savez(moved / "images.npz", s1=images["s1"], s2=images["s2"])
    script = (
        "import mlflow, numpy as np\n"
        f"model = mlflow.pyfunc.load_model('models:/{NAME}@champion')\n"
        "np.save('said.npy', model.predict(dict(np.load('images.npz'))))\n"
        "from eocontrast.tracking.tracker import Tracker\n"
        "with Tracker('evaluate').start('later', {}) as run:\n"
        "    run.text('card.md', 'later')\n"
    )
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    subprocess.run([sys.executable, "-c", script], cwd=moved, env=environment, check=True)
    np.testing.assert_allclose(np.load(moved / "said.npy"), expected, atol=1e-6)
    assert [file.read_text() for file in moved.glob("mlartifacts/*/artifacts/card.md")] == ["later"]
    assert not tmp_path.exists()
