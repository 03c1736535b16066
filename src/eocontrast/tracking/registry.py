"""The fine-tuned model of the single run as an MLflow model, registered under a name."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from eocontrast.patches.store import PatchStore
from eocontrast.tracking.runs import Run
from eocontrast.tracking.served import Images, Served

with warnings.catch_warnings():  # MLflow 3.17 warns of type hints of its own
    warnings.filterwarnings("ignore", ".*Any type hint is inferred")
    import mlflow.pyfunc

NAME = "land-cover"
"""In MLflow's registry; every logged model is a version of it."""


def register(run: Run, file: Path, store: PatchStore) -> str:
    """Log a fine-tuned file as a model of a run, and return its URI in the registry.

    A run has one set of weights: what was registered for it before a kill is not registered again.

    Args:
        run: that trained it, in whose tracking store the registry is.
        file: safetensors.
        store: of the patches that it was trained on; one of them becomes the input example.
    """
    found = run.client.search_model_versions(f"name = '{NAME}' and run_id = '{run.run_id}'")
    if found:
        return f"models:/{NAME}/{found[0].version}"
    model = Served(file)
    images, said = model.example(store)
    mlflow.set_tracking_uri(run.client.tracking_uri)
    mlflow.set_experiment(experiment_id=run.client.get_run(run.run_id).info.experiment_id)
    logged = Model.log(
        artifact_path=None,
        name=NAME,
        flavor=mlflow.pyfunc,
        registered_model_name=NAME,
        run_id=run.run_id,
        loader_module=Served.__module__,
        data_path=str(file),
        signature=_signature(images, said),
        input_example=images,
        # named, because MLflow would load the model in another process to find out
        pip_requirements=[f"{name}=={version(name)}" for name in ("eocontrast", "mlflow")],
        metadata={name: model.spec.to_dict()[name] for name in ("task", "classes", "inputs")},
    )
    number = logged.registered_model_version
    run.client.update_model_version(NAME, number, _described(model))
    return f"models:/{NAME}/{number}"


def _described(model: Served) -> str:
    """What tells one version from another in the registry's table."""
    spec = model.spec
    # what differs most comes first, for the column is narrow
    return f"{spec.init}, {spec.n_labels} labels, seed {spec.seed}, {spec.task}"


def _signature(images: Images, said: NDArray[np.float32]) -> ModelSignature:
    """Any number of images, each as large as the example."""
    taken: list[ColSpec | TensorSpec] = [
        TensorSpec(v.dtype, (-1, *v.shape[1:]), sensor) for sensor, v in images.items()
    ]
    return ModelSignature(Schema(taken), Schema([TensorSpec(said.dtype, (-1, *said.shape[1:]))]))
