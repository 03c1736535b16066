"""Registration of fine-tuned models in MLflow."""

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
"""Name in MLflow's registry; every logged model is a version of it."""


def register(run: Run, file: Path, store: PatchStore) -> str:
    """Log a fine-tuned file as a model of a run, and return its URI in the registry.

    A run has one set of weights, so its model is registered once, even if a stage was killed.

    Args:
        run: Run of the training; the registry is in its tracking store.
        file: Fine-tuned model.
        store: Store of its training patches, one of which becomes the input example.
    """
    versions = run.client.search_model_versions(f"name = '{NAME}' and run_id = '{run.run_id}'")
    if versions:
        return f"models:/{NAME}/{versions[0].version}"
    model = Served(file)
    images, probabilities = model.example(store)
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
        signature=_signature(images, probabilities),
        input_example=images,
        # listed, because MLflow would load the model in another process to find them
        pip_requirements=[f"{name}=={version(name)}" for name in ("eocontrast", "mlflow")],
        metadata={name: model.spec.to_dict()[name] for name in ("task", "classes", "inputs")},
    )
    number = logged.registered_model_version
    run.client.update_model_version(NAME, number, _description(model))
    return f"models:/{NAME}/{number}"


def _description(model: Served) -> str:
    """Describe a version in the registry's table."""
    spec = model.spec
    # the column is narrow, so what differs most comes first
    return f"{spec.init}, {spec.n_labels} labels, seed {spec.seed}, {spec.task}"


def _signature(images: Images, probabilities: NDArray[np.float32]) -> ModelSignature:
    """Return the signature for any number of images, each as large as the example."""
    inputs: list[ColSpec | TensorSpec] = [
        TensorSpec(v.dtype, (-1, *v.shape[1:]), sensor) for sensor, v in images.items()
    ]
    output = TensorSpec(probabilities.dtype, (-1, *probabilities.shape[1:]))
    return ModelSignature(Schema(inputs), Schema([output]))
