"""Choose varied test patches and segment them with several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from eocontrast.evaluation.prediction import ensemble, load_model, predict
from eocontrast.models.tasks import TASKS
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.runtime.errors import UserError


def varied_patches(store: PatchStore, number: int) -> Rows:
    """Test patches that hold the most even mix of classes, at most one a group, (n,).

    Raises:
        UserError: there are no masks in the test split.
    """
    rows = store.labelled("test")
    if store.shares is None or not store.has_masks or len(rows) == 0:
        raise UserError(f"{store.folder} has no masks in the split test: nothing to draw")
    mix = torch.special.entr(torch.from_numpy(store.shares[rows])).sum(1).numpy()
    chosen: dict[object, int] = {}
    for row in rows[np.argsort(-mix, kind="stable")].tolist():
        chosen.setdefault(store.groups[row], row)
    return np.array(list(chosen.values())[:number], dtype=np.int64)


def class_maps(
    files: Mapping[str, Sequence[Path]], store: PatchStore, rows: Rows, device: Accelerator
) -> dict[str, NDArray[np.int64]]:
    """The class of every pixel by column; several files are an ensemble.

    Returns:
        Class indices (n, H, W) by the keys of `files`.
    """
    maps = {}
    for name, members in files.items():
        models = [load_model(file, store)[0] for file in members]
        said = [predict(model, TASKS["segmentation"], store, rows, device) for model in models]
        probabilities = next(iter(ensemble(said).values()))
        maps[name] = probabilities.max(1).indices.numpy()
    return maps
