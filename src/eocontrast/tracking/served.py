"""MLflow's interface to a fine-tuned model, from images in physical units to probabilities.

MLflow loads the model by the name of this module from its safetensors file, without a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eocontrast.modalities import Modality
from eocontrast.models.build import load_finetuned
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import device

Images = dict[str, NDArray[np.float32]]
"""Images (n, bands, H, W) by sensor, in the units and bands of its input spec; NaN is no data."""


class Served:
    """A fine-tuned model as MLflow calls it."""

    def __init__(self, file: Path) -> None:
        model, self.spec = load_finetuned(file)
        self.task, self.device = self.spec.learning, device()
        self.model = model.to(self.device)

    def predict(
        self, images: Mapping[str, NDArray[Any]], params: Mapping[str, Any] | None = None
    ) -> NDArray[np.float32]:
        """Return probabilities (n, C), or (n, C, H, W) of pixels.

        A sensor whose image is NaN everywhere counts as missing.

        Raises:
            UserError: images that do not suit the weights.
        """
        batch = self._encode(images)
        counts = {sensor: len(stored) for sensor, stored in batch.items()}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{number} of {sensor}" for sensor, number in counts.items())
            raise UserError(
                f"the request has {found} images; expected one of each sensor per place. Send NaN "
                "for a place that a sensor has no image of"
            )
        return self._probabilities(batch)

    def _probabilities(self, batch: Batch) -> NDArray[np.float32]:
        return self.task.predict(self.model, batch, self.device).cpu().numpy()

    def example(self, store: PatchStore) -> tuple[Images, NDArray[np.float32]]:
        """Return the first labelled patch of a store as input, and its probabilities."""
        # from training: an input example that anyone may look at is no test patch
        stored = store.batch(store.labelled("train")[:1], self.model.inputs)
        images: Images = {
            sensor: _in_units(spec.modality, stored[sensor].numpy())
            for sensor, spec in self.model.inputs.items()
        }
        return images, self._probabilities(stored)

    def _encode(self, images: Mapping[str, NDArray[Any]]) -> Batch:
        batch: Batch = {}
        for sensor, spec in self.model.inputs.items():
            bands, units = spec.modality.bands, spec.modality.units
            if sensor not in images:
                expected = ", ".join(self.model.inputs)
                raise UserError(f"the request has no {sensor}; expected {expected}")
            try:
                stored = spec.encode(images[sensor], bands=bands, units=units)
            except UserError as error:
                raise UserError(f"{sensor}: {error}") from error
            batch[sensor] = torch.from_numpy(stored)
        return batch


def _in_units(modality: Modality, stored: NDArray[np.integer]) -> NDArray[np.float32]:
    values = modality.decode(stored)
    return np.power(np.float32(10), values / 10) if modality.units == "linear" else values


def _load_pyfunc(path: str) -> Served:  # MLflow calls it by this name
    return Served(Path(path))
