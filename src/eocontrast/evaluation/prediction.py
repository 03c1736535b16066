"""What fine-tuned models say of patches: probabilities, with every set of sensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.models.features import Features
from eocontrast.models.finetuned import load_finetuned
from eocontrast.models.missing import keep_only, sensor_sets
from eocontrast.models.model import LateModel, Model, Streams
from eocontrast.models.tasks import Task
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.errors import UserError

Said = dict[tuple[Sensor, ...], Tensor]
"""Probabilities by the sensors that had an image."""


def load_model(file: Path, store: PatchStore) -> tuple[Model, dict[str, Any]]:
    """A fine-tuned model in eval mode, and its header, for the store that it learnt from.

    Test patches of another store may be among those that it learnt from.

    Raises:
        UserError: the file is none, tells other classes apart than the store, or was fine-tuned on
            another store.
    """
    model, header = load_finetuned(file)
    if list(store.classes) != header["classes"]:
        raise UserError(
            f"{file} tells apart {header['classes']}, but {store.folder} holds "
            f"{list(store.classes)}: fine-tune on this data first"
        )
    if header.get("data_digest") != store.digest:
        learnt = str(header.get("data_digest"))[:12]
        raise UserError(
            f"{file} was fine-tuned on a store of digest {learnt}, but {store.folder} has "
            f"{store.digest[:12]}: `dvc repro finetune`, for the curve `dvc repro finetune_grid`, "
            "fine-tunes on this one"
        )
    return model, header


def predict(
    model: Model,
    task: Task,
    store: PatchStore,
    rows: Rows,
    device: Accelerator,
    features: Features | None = None,
) -> Said:
    """Probabilities with all sensors first and, where each has a backbone, with each alone.

    Returns:
        By the sensors that had an image, (n, C), or (n, C, H, W) of pixels, float32 on the CPU.
    """
    model.to(device.device).eval()
    found = {}
    with torch.no_grad(), device.autocast():
        for sensors, logits in _logits(model, store, rows, device, features):
            if logits.ndim == 4:  # joined streams still have the padding
                logits = logits[..., : store.patch_size, : store.patch_size]
            found[sensors] = task.probabilities(logits.float()).cpu()
    return found


def ensemble(said: Sequence[Said]) -> Said:
    """Mean probabilities of several models, with all sensors."""
    sensors = next(iter(said[0]))
    return {sensors: torch.stack([one[sensors] for one in said]).mean(0)}


def _logits(
    model: Model, store: PatchStore, rows: Rows, device: Accelerator, features: Features | None
) -> Iterator[tuple[tuple[Sensor, ...], Tensor]]:
    """Logits for every set of sensors; where sensors are joined last, each is computed once."""
    if features is not None:
        assert isinstance(model, LateModel)
        yield from _joins(model, _on(features.of(rows), device), _on(features.absent, device))
        return
    batch = _on(store.batch(rows, model.inputs), device)
    if isinstance(model, LateModel) and model.apart:
        one = {sensor: stored[:1] for sensor, stored in batch.items()}
        absent = model.streams(keep_only(one, model.inputs, ()))
        yield from _joins(model, model.streams(batch), absent)
        return
    sets = sensor_sets(model.inputs)
    for sensors in sets if len(model.backbones) > 1 else sets[:1]:
        yield sensors, model(keep_only(batch, model.inputs, sensors))


def _on(tensors: dict[str, Tensor], device: Accelerator) -> dict[str, Tensor]:
    return {name: tensor.to(device.device) for name, tensor in tensors.items()}


def _joins(
    model: LateModel, streams: Streams, absent: Streams
) -> Iterator[tuple[tuple[Sensor, ...], Tensor]]:
    for sensors in sensor_sets(model.inputs):
        parts = {
            name: part if name in sensors else absent[name].expand_as(part)
            for name, part in streams.items()
        }
        yield sensors, model.join(parts)
