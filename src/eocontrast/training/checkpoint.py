"""The state of a pretraining, and the checkpoint that a killed run resumes from."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import whole
from eocontrast.runtime.signals import asked_to_stop, stop_if_asked

CHECKPOINT_SECONDS = 240.0
"""Age at which a checkpoint is written anew: a killed run repeats less than five minutes."""

Metrics = dict[str, float]

_PLAIN = ("history", "losses")
"""Fields of the state that need no `state_dict`."""


@dataclass
class TrainingState:
    """The changing state of a training; the global generators, for dropout, are saved with it."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LambdaLR
    device: torch.device
    checkpoint: Path | None
    history: list[Metrics] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    """Loss of each step since the epoch began, scalars."""
    saved: float = field(default_factory=time.monotonic)

    def save(self) -> None:
        """Write the checkpoint whole or not at all; do nothing if no path was given."""
        if self.checkpoint is None:
            return
        state = {name: part.state_dict() for name, part in self._parts().items()}
        drawn = {kind: module.get_rng_state() for kind, module in self._generators().items()}
        plain = {name: getattr(self, name) for name in _PLAIN}
        # with a path instead of a file, torch reports a full disk as a defect of its own
        with whole(self.checkpoint) as partial, partial.open("wb") as file:
            torch.save({**state, **plain, "drawn": drawn}, file)
        self.saved = time.monotonic()

    def save_if_due(self) -> None:
        """Write the checkpoint after a step if the last one is old or a signal asks to stop.

        Raises:
            Stopped: a signal asked to stop.
        """
        if asked_to_stop() or time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save()
        stop_if_asked()

    def load(self, path: Path) -> None:
        """Read what `save` wrote.

        Raises:
            UserError: the file is damaged.
        """
        saved = _read(path)
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        for kind, module in self._generators().items():
            module.set_rng_state(saved["drawn"][kind])
        for name in _PLAIN:
            setattr(self, name, saved[name])
        self.losses = [loss.to(self.device) for loss in self.losses]

    def _parts(self) -> dict[str, nn.Module | Optimizer | LambdaLR]:
        return {
            # without the wrapper of several processes: another number of them may resume
            "model": extract_model_from_parallel(self.model),
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
        }

    def _generators(self) -> dict[str, Any]:
        """Return the modules of torch that draw random numbers, by kind of device."""
        kind = self.device.type
        return {"cpu": torch} | ({} if kind == "cpu" else {kind: torch.get_device_module(kind)})


def _read(path: Path) -> dict[str, Any]:
    """Read the dictionary that `TrainingState.save` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch.load checks no checksums
        if damaged is None:
            # weights_only: a pickle could run code. On the CPU: that is where set_rng_state takes
            # its tensors
            found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
            return found
    except Exception as error:  # damage may raise anything
        damaged = str(error)
    raise UserError(
        f"the checkpoint {path} is damaged ({damaged}): remove it, and `dvc repro` trains from "
        "the beginning"
    )
