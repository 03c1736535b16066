"""A fine-tuned model behind MLflow's interface: images in physical units in, probabilities out.

MLflow loads it by this module's name, from the safetensors file alone, without a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocontrast.modalities import Modality
from eocontrast.models.finetuned import load_finetuned
from eocontrast.models.tasks import TASKS
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import device

Images = dict[str, NDArray[np.float32]]
"""By sensor, (n, bands, H, W) in the units and bands of its input spec; NaN is no data."""


class Served:
    """What MLflow calls."""

    def __init__(self, file: Path) -> None:
        model, self.header = load_finetuned(file)
        self.device = device()  # in float32, whoever serves it
        self.model = model.to(self.device)

    def predict(
        self, images: Mapping[str, NDArray[Any]], params: Mapping[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, C), or (n, C, H, W) of pixels; a sensor all of NaN is one that lacks.

        Raises:
            UserError: images that do not suit the weights.
        """
        return self._answer(self._stored(images))

    @torch.no_grad()
    def _answer(self, batch: Batch) -> NDArray[np.float32]:
        height, width = next(iter(batch.values())).shape[2:]
        logits = self.model(batch)
        if logits.ndim == 4:  # joined streams still have the padding
            logits = logits[..., :height, :width]
        found = TASKS[self.header["task"]].probabilities(logits.float())
        return found.cpu().numpy()

    def example(self, store: PatchStore) -> tuple[Images, NDArray[np.float32]]:
        """The first labelled patch of the store as the model takes it, and what it says of it."""
        stored = store.batch(store.labelled("train")[:1], self.model.inputs)
        images: Images = {
            sensor: _in_units(spec.modality, stored[sensor].numpy())
            for sensor, spec in self.model.inputs.items()
        }
        return images, self._answer({s: t.to(self.device) for s, t in stored.items()})

    def _stored(self, images: Mapping[str, NDArray[Any]]) -> Batch:
        batch: Batch = {}
        for sensor, spec in self.model.inputs.items():
            wanted = spec.modality
            try:
                stored = spec.encode(images[sensor], bands=wanted.bands, units=wanted.units)
            except UserError as error:
                raise UserError(f"{sensor}: {error}") from error
            batch[sensor] = torch.from_numpy(stored).to(self.device)
        return batch


def _in_units(modality: Modality, stored: NDArray[np.integer]) -> NDArray[np.float32]:
    values = modality.decode(stored)
    return np.power(np.float32(10), values / 10) if modality.units == "linear" else values


def _load_pyfunc(path: str) -> Served:  # the name that MLflow calls
    return Served(Path(path))
