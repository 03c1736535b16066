"""Class probabilities of patches by fine-tuned models, with every set of sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.models.build import load_finetuned
from eocontrast.models.features import Features
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.model import LateModel, Model, Streams, keep_only, sensor_sets
from eocontrast.models.segmenters import Segmenter
from eocontrast.models.tasks import Task
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.errors import UserError

Predictions = dict[tuple[Sensor, ...], Tensor]
"""Class probabilities, with the sensors that had an image as key."""

Forward = Callable[[dict[str, Tensor]], Tensor]

Pass = tuple[tuple[Sensor, ...], Forward, dict[str, Tensor]]
"""Sensors that have an image, the forward pass with those, and the tensors that it takes."""


def load_model(file: Path, store: PatchStore) -> tuple[Model, FinetunedSpec]:
    """Load a fine-tuned model in eval mode, and its header, for the store that it was trained on.

    Test patches of another store may be among its training patches.

    Raises:
        UserError: the file is not a fine-tuned model, it has other classes than the store, or it
            was fine-tuned on another store.
    """
    model, spec = load_finetuned(file)
    if store.classes != spec.classes:
        raise UserError(
            f"{file} has the classes {list(spec.classes)}, but {store.folder} has "
            f"{list(store.classes)}: fine-tune on this data first"
        )
    if spec.data_digest != store.digest:
        raise UserError(
            f"{file} was fine-tuned on a store of digest {spec.data_digest[:12]}, but "
            f"{store.folder} has {store.digest[:12]}. Run `dvc repro finetune`, or "
            "`dvc repro finetune_grid` for the curve, to fine-tune on this one"
        )
    return model, spec


def predict(
    model: Model,
    task: Task,
    store: PatchStore,
    rows: Rows,
    device: Accelerator,
    features: Features | None = None,
) -> Predictions:
    """Predict patches with all sensors and, if each has a backbone, with each sensor alone.

    Args:
        model: Fine-tuned model.
        task: Task of the model.
        store: Patch store.
        rows: Rows of the store.
        device: Device and precision.
        features: Features of the frozen backbones, if they are known.

    Returns:
        Probabilities (n, C), or (n, C, H, W) of pixels, float32 on the CPU.
    """
    (found,) = predictions(model, task, store, [rows], device, features)
    return found


def predictions(
    model: Model,
    task: Task,
    store: PatchStore,
    chunks: Iterable[Rows],
    device: Accelerator,
    features: Features | None = None,
) -> Iterator[Predictions]:
    """Yield what `predict` returns for each of several chunks of patches."""
    model.to(device.device).eval()
    absent: Streams = {}
    for rows in chunks:
        if features is not None:
            passes = _joins(model, store, features.of(rows), features.absent)
        else:
            batch = store.batch(rows, model.inputs)
            batch = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
            if isinstance(model, LateModel) and model.apart:
                # one patch and once: without data, all give the same output
                absent = absent or _streams(model, _without_data(model, batch), device)
                passes = _joins(model, store, _streams(model, batch, device), absent)
            else:
                passes = _wholes(model, batch)
        yield {
            sensors: task.predict(forward, tensors, device.device, device.autocast()).cpu()
            for sensors, forward, tensors in passes
        }


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """Return the mean probabilities of several models with all sensors."""
    sensors = next(iter(members[0]))
    return {sensors: torch.stack([member[sensors] for member in members]).mean(0)}


def _wholes(model: Model, batch: Batch) -> Iterator[Pass]:
    """Yield a pass through the whole model for each set of sensors."""
    sets = sensor_sets(model.inputs)
    # one backbone of both sensors has never seen one alone
    for sensors in sets if len(model.backbones) > 1 else sets[:1]:
        yield sensors, model, keep_only(batch, model.inputs, sensors)


def _joins(model: Model, store: PatchStore, streams: Streams, absent: Streams) -> Iterator[Pass]:
    """Yield a pass for each set of sensors from the outputs of backbones that ran once."""
    assert isinstance(model, LateModel)
    for sensors in sensor_sets(model.inputs):
        parts = {
            name: part if name in sensors else absent[name].expand_as(part)
            for name, part in streams.items()
        }
        yield sensors, partial(_join, model, store.patch_size), parts


@torch.no_grad()
def _streams(model: LateModel, batch: Batch, device: Accelerator) -> Streams:
    with device.autocast():
        return model.streams(batch)


def _without_data(model: Model, batch: Batch) -> Batch:
    """Return one patch without data in any sensor."""
    return keep_only({sensor: stored[:1] for sensor, stored in batch.items()}, model.inputs, ())


def _join(model: LateModel, side: int, streams: Streams) -> Tensor:
    if isinstance(model, Segmenter):
        return model.logits(streams, (side, side))
    return model.join(streams)
