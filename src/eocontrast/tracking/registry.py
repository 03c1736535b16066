"""Registration of fine-tuned models in MLflow."""

from __future__ import annotations

import warnings
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from numpy.typing import NDArray

from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.tasks import TaskName
from eocontrast.patches.store import PatchStore
from eocontrast.tracking.runs import Run
from eocontrast.tracking.served import Images, Served
from eocontrast.tracking.store import UNAVAILABLE, project_root, remote

with warnings.catch_warnings():  # MLflow 3.17 warns of type hints of its own
    warnings.filterwarnings("ignore", ".*Any type hint is inferred")
    import mlflow.pyfunc

CHAMPION = "champion"
"""Alias of the version to use: the best on validation labels, or the one that you choose."""

VALIDATION_TAG = "validation"
"""Score on the validation labels of the budget. Test scores choose no model."""


def registered_name(task: TaskName) -> str:
    """Return the name whose versions are the models of a task."""
    return f"land-cover-{task.replace('_', '-')}"


def register(run: Run, arm: str, file: Path, store: PatchStore) -> str:
    """Log a fine-tuned file as a model of a run, and describe where it is registered.

    Args:
        run: Run of the training; the registry is in its tracking store.
        arm: Name of the arm, for a tag.
        file: Fine-tuned model.
        store: Store of its training patches, one of which becomes the input example.
    """
    if run.run_id and not run.missed.server_gone:
        try:
            return _register(run, arm, file, store)
        except UNAVAILABLE as error:
            if not remote(run.client.tracking_uri):
                raise
            run.missed.gone(error)
    return "no registered model; run `dvc repro -f -s evaluate` when the server answers"


def _register(run: Run, arm: str, file: Path, store: PatchStore) -> str:
    """Register a model and return its URI.

    A run has one set of weights, so its model is registered once, even if a stage was killed.
    """
    spec = FinetunedSpec.load(file)
    name = registered_name(spec.task)
    versions = run.client.search_model_versions(f"name = '{name}' and run_id = '{run.run_id}'")
    number = versions[0].version if versions else _log(run, file, store, name)
    _tag(run, name, number, spec, arm)
    aliased = _crown(run.client, name, number)
    return f"models:/{name}/{number}" + (f", alias {CHAMPION}" if aliased else "")


def _log(run: Run, file: Path, store: PatchStore, name: str) -> str:
    """Log a model with an input example, and return the number of its version."""
    model = Served(file)
    images, probabilities = model.example(store)
    mlflow.set_tracking_uri(run.client.tracking_uri)
    mlflow.set_experiment(experiment_id=run.client.get_run(run.run_id).info.experiment_id)
    data = str(file.absolute())
    with chdir(project_root()):  # addresses of artifacts are relative to it
        logged = Model.log(
            artifact_path=None,
            name=name,
            flavor=mlflow.pyfunc,
            registered_model_name=name,
            run_id=run.run_id,
            loader_module=Served.__module__,
            data_path=data,
            signature=_signature(images, probabilities),
            input_example=images,
            # listed, because MLflow would load the model in another process to find them
            pip_requirements=[f"{name}=={version(name)}" for name in ("eocontrast", "mlflow")],
            metadata={name: model.spec.to_dict()[name] for name in ("task", "classes", "inputs")},
        )
    number = str(logged.registered_model_version)
    run.client.update_model_version(name, number, _description(model))
    return number


def _tag(run: Run, name: str, number: str, spec: FinetunedSpec, arm: str) -> None:
    """Tag a version with what it is, and with its score on validation labels if it has one."""
    tags = {
        "arm": arm,
        **{key: getattr(spec, key) for key in ("task", "init", "head", "fusion", "frozen")},
        **{key: getattr(spec, key) for key in ("fraction", "n_labels", "seed")},
        "data": spec.data.get("name", ""),
        "data.digest": spec.data_digest,
    }
    score = run.client.get_run(run.run_id).data.metrics.get(f"val_{spec.learning.metric}")
    if score is not None:
        tags[VALIDATION_TAG] = f"{score:.4f}"
    for key, value in tags.items():
        run.client.set_model_version_tag(name, number, key, str(value))


def _crown(client: MlflowClient, name: str, number: str) -> bool:
    """Give a version the alias if none has it, or if it is better on validation labels.

    Versions of other data do not compare. Without validation labels the alias stays where it is.
    """
    new = client.get_model_version(name, number).tags
    try:
        current = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:  # there is none
        current = None
    if current is not None and current.version != number:
        scores = [float(tags.get(VALIDATION_TAG, "nan")) for tags in (new, current.tags)]
        if current.tags.get("data.digest") != new["data.digest"] or not scores[0] > scores[1]:
            return False
    client.set_registered_model_alias(name, CHAMPION, number)
    return True


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
