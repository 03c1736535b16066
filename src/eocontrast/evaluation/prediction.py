"""Class probabilities of patches by fine-tuned models, with every set of sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    model.to(device.device).eval()
    return {
        sensors: task.predict(forward, tensors, device.device, device.autocast()).cpu()
        for sensors, forward, tensors in _passes(model, store, rows, device, features)
    }


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """Return the mean probabilities of several models with all sensors."""
    sensors = next(iter(members[0]))
    return {sensors: torch.stack([member[sensors] for member in members]).mean(0)}


def _passes(
    model: Model, store: PatchStore, rows: Rows, device: Accelerator, features: Features | None
) -> Iterator[tuple[tuple[Sensor, ...], Forward, dict[str, Tensor]]]:
    """Yield the forward pass of each set of sensors, and the tensors that it takes."""
    sets = sensor_sets(model.inputs)
    if features is not None:
        streams, absent = features.of(rows), features.absent
    else:
        batch = store.batch(rows, model.inputs)
        batch = {sensor: stored.to(device.device) for sensor, stored in batch.items()}
        if not (isinstance(model, LateModel) and model.apart):
            for sensors in sets if len(model.backbones) > 1 else sets[:1]:
                yield sensors, model, keep_only(batch, model.inputs, sensors)
            return
        streams, absent = _streams(model, batch, device)
    # backbones that are joined at the end run once for all sets
    assert isinstance(model, LateModel)
    for sensors in sets:
        parts = {
            name: part if name in sensors else absent[name].expand_as(part)
            for name, part in streams.items()
        }
        yield sensors, partial(_join, model, store.patch_size), parts


@torch.no_grad()
def _streams(model: LateModel, batch: Batch, device: Accelerator) -> tuple[Streams, Streams]:
    """Return the output of each backbone for a batch, and for a patch without data."""
    # one patch suffices: without data, all give the same output
    one = {sensor: stored[:1] for sensor, stored in batch.items()}
    with device.autocast():
        absent = model.streams(keep_only(one, model.inputs, ()))
        return model.streams(batch), absent


def _join(model: LateModel, side: int, streams: Streams) -> Tensor:
    if isinstance(model, Segmenter):
        return model.logits(streams, (side, side))
    return model.join(streams)
