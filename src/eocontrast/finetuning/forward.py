"""Inputs of the training loop: patches, or features of frozen backbones."""

from __future__ import annotations

from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from eocontrast.models.classifiers import Classifier
from eocontrast.models.features import Features
from eocontrast.models.model import Model, drawn_missing, drop_sensors
from eocontrast.models.tasks import Task, patch_targets
from eocontrast.patches.augment import Draws, random_view
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.patches.windows import Window
from eocontrast.runtime.errors import UserError


class Inputs(Protocol):
    """A model and what it is trained on."""

    model: nn.Module
    store: PatchStore

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return logits (n, C, ...), float32, and targets; of random views if `draws` is given."""


class PatchInputs:
    """Patches for a model that is trained as a whole.

    Raises:
        UserError: the crop is larger than the patches, or there are no masks to segment by.
    """

    def __init__(
        self,
        model: Model,
        store: PatchStore,
        task: Task,
        device: Accelerator,
        crop: int,
        modality_dropout: float,
    ) -> None:
        if crop > store.patch_size:
            raise UserError(
                f"finetune.recipe's crop is {crop}, but patches have {store.patch_size} pixels a "
                "side"
            )
        self.model: nn.Module = model
        self.inputs = model.inputs
        self.store, self.task, self.device = store, task, device
        self.crop, self.modality_dropout = crop, modality_dropout
        self.targets = patch_targets(store, task)

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return logits and targets of whole patches, or of random crops if `draws` is given."""
        if draws is None:
            batch = self._read(rows)
        else:
            view = random_view(len(rows), self.store.patch_size, self.crop, True, Draws(draws))
            batch = {kind: view(part) for kind, part in self._read(rows, view.window).items()}
            if self.modality_dropout:
                batch = drop_sensors(batch, self.inputs, self.modality_dropout, draws)
        masks = batch.pop("label", None)
        with self.device.autocast():
            logits: Tensor = self.model(batch)
        targets = self.targets[torch.from_numpy(rows)] if masks is None else masks[:, 0]
        return logits.float(), targets.to(logits.device)

    def _read(self, rows: Rows, window: Window | None = None) -> Batch:
        """Return images, and masks for segmentation, of whole patches or of windows of them."""
        masks = self.task.name == "segmentation"
        stored = self.store.batch(rows, self.inputs, window, masks)
        device = self.device.device
        return {kind: part.to(device, non_blocking=True) for kind, part in stored.items()}


class FeatureInputs:
    """Features for a linear head, the only part that is trained.

    The head is trained on features of zero mean and unit variance, so that one learning rate suits
    every backbone. `fold` absorbs that scale into the head afterwards.
    """

    def __init__(
        self,
        classifier: Classifier,
        store: PatchStore,
        features: Features,
        targets: Tensor,
        train: Rows,
        modality_dropout: float,
    ) -> None:
        self.model: nn.Module = classifier.head
        self.sensors, self.store = classifier.inputs, store
        self.features, self.targets = features, targets
        self.modality_dropout = modality_dropout
        seen = torch.cat(list(features.of(train).values()), dim=1)
        self.mean = seen.mean(0)
        sd = seen.std(0, correction=0)
        # a feature that is the same in all these patches teaches nothing: it gets no weight
        self.sd = torch.where(sd > 1e-3 * sd.mean(), sd, torch.inf)

    def logits(self, rows: Rows, draws: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Return logits of the head, and targets; with `draws`, sensors may be missing."""
        streams = self.features.of(rows)
        if draws is not None and self.modality_dropout:
            lost = drawn_missing(len(rows), self.sensors, self.modality_dropout, draws)
            streams = {
                name: torch.where(lost[name][:, None], self.features.absent[name], part)
                for name, part in streams.items()
            }
        joined = torch.cat(list(streams.values()), dim=1)
        logits: Tensor = self.model((joined - self.mean) / self.sd)
        return logits, self.targets[torch.from_numpy(rows)]

    @torch.no_grad()
    def fold(self, head: nn.Linear) -> None:
        """Make `head` give the same logits from features that are not scaled."""
        # W (h - m) / s + b = (W / s) h + (b - (W / s) m)
        head.weight.div_(self.sd)
        head.bias.sub_(head.weight @ self.mean)
