"""All that changes while a model is trained, and the checkpoint that it is kept in."""

from __future__ import annotations

import math
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
"""A checkpoint is at most this old, and a step: less than five minutes of training are repeated."""

Metrics = dict[str, float]

_TOLD = ("history", "losses", "lowest", "best")
"""Fields of the state that are written as they are."""


@dataclass
class TrainingState:
    """All that changes while training, with the generators that dropout draws from."""

    model: nn.Module
    optimizer: Optimizer
    scheduler: LambdaLR
    device: torch.device
    checkpoint: Path | None
    history: list[Metrics] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    """Of the steps of an epoch that is not over."""
    lowest: float = math.inf
    """Loss by which the best epoch is chosen, if one is."""
    best: dict[str, Tensor] | None = None
    """Tensors of the model after that epoch."""
    saved: float = field(default_factory=time.monotonic)

    def keep_if_best(self, loss: float) -> None:
        """Keep the tensors of the model where no epoch before had a lower loss."""
        if loss <= self.lowest:
            self.lowest = loss
            self.best = {name: t.clone() for name, t in self.model.state_dict().items()}

    def save(self) -> None:
        """Write the checkpoint, whole or not at all; nothing where there is to be none."""
        if self.checkpoint is None:
            return
        state = {name: part.state_dict() for name, part in self._parts().items()}
        drawn = {kind: module.get_rng_state() for kind, module in self._generators().items()}
        told = {name: getattr(self, name) for name in _TOLD}
        # given a name instead, torch does not tell a full disk from a defect
        with whole(self.checkpoint) as partial, partial.open("wb") as file:
            torch.save({**state, **told, "drawn": drawn}, file)
        self.saved = time.monotonic()

    def save_if_due(self) -> None:
        """After a step: where the last checkpoint is old, or a signal asks to stop.

        Raises:
            Stopped: a signal asked for that.
        """
        if asked_to_stop() or time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save()
        stop_if_asked()

    def load(self, path: Path) -> None:
        """Inverse of `save`.

        Raises:
            UserError: the file was damaged.
        """
        saved = _read(path)
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])
        for kind, module in self._generators().items():
            module.set_rng_state(saved["drawn"][kind])
        for name in _TOLD:
            setattr(self, name, saved[name])
        self.losses = [loss.to(self.device) for loss in self.losses]

    def _parts(self) -> dict[str, nn.Module | Optimizer | LambdaLR]:
        return {
            "model": extract_model_from_parallel(self.model),
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
        }

    def _generators(self) -> dict[str, Any]:
        """Modules of torch that draw, by kind of device."""
        kind = self.device.type
        return {"cpu": torch} | ({} if kind == "cpu" else {kind: torch.get_device_module(kind)})


def _read(path: Path) -> dict[str, Any]:
    """What `TrainingState.save` wrote.

    Raises:
        UserError: the file was damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # torch.load compares no checksums
        if damaged is None:
            found: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
            return found
    except Exception as error:  # whatever the damage leads to
        damaged = str(error)
    raise UserError(
        f"the checkpoint {path} is damaged ({damaged}): remove it, and `dvc repro` trains from "
        "the beginning"
    )
