"""Checkpoints within an epoch, and what becomes of damaged ones."""

from __future__ import annotations

import os
import signal
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import DUAL_SIMCLR
from torch import Tensor

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.loop import pretrain
from eocontrast.pretraining.objectives import DualSimCLR
from eocontrast.pretraining.views import PairViews
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.signals import Stopped, stoppable
from eocontrast.training import checkpoint as training_state
from eocontrast.training.devices import accelerator, deterministic

RUN = DUAL_SIMCLR.model_copy(update={"epochs": 3})
STEPS = 6
"""Of an epoch."""


class Told(DualSimCLR):
    """One that is told at which step a signal comes, or a kill."""

    step = 0
    ends = -1
    signal: signal.Signals | None = None

    def forward(self, batch: Batch, group_B: Tensor | None = None) -> Tensor:
        self.step += 1
        if self.step == self.ends:
            if self.signal is None:
                raise KeyboardInterrupt  # as abrupt as a kill: nothing is written on the way
            os.kill(os.getpid(), self.signal)
        return super().forward(batch, group_B)


@pytest.fixture
def draw(tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]) -> Callable[[], Told]:
    """Makes the objective, with stochastic depth, which draws from the global generator."""
    options = {**tiny_backbones["swin"].options, "drop_path_rate": 0.5}
    architecture = Architecture(tiny_backbones["swin"].name, options)

    def drawn() -> Told:
        deterministic(0)
        return Told({s: Backbone(architecture, {s: tiny_store.specs[s]}) for s in SENSORS}, RUN)

    return drawn


def run(objective: Told, store: PatchStore, checkpoint: Path | None) -> list[dict[str, float]]:
    return list(pretrain(objective, PairViews(RUN), store, RUN, accelerator("no"), checkpoint))


def assert_equal(one: Told, two: Told) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], tensor), name


@pytest.mark.parametrize("step", [1, 2, 6, 7, 11, 18])
@pytest.mark.parametrize("by", [None, signal.SIGTERM, signal.SIGINT])
def test_resumed_run_at_any_step(
    tmp_path: Path,
    tiny_store: PatchStore,
    draw: Callable[[], Told],
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    by: signal.Signals | None,
) -> None:
    if by is None:  # a signal needs no clock to checkpoint
        monkeypatch.setattr(training_state, "CHECKPOINT_SECONDS", 0.0)
    whole, checkpoint = draw(), tmp_path / "kept"
    expected = run(whole, tiny_store, None)
    ended, again = draw(), draw()
    ended.ends, ended.signal = step, by
    with pytest.raises((Stopped, KeyboardInterrupt)), stoppable():
        run(ended, tiny_store, checkpoint)
    torch.rand(5)  # another process has drawn other numbers
    assert run(again, tiny_store, checkpoint) == expected
    assert_equal(whole, again)
    repeated = ended.step + again.step - whole.step
    assert repeated == (1 if by is None else 0)  # the step that was killed; none after a signal


def test_checkpoints_of_short_epochs(
    tmp_path: Path, tiny_store: PatchStore, draw: Callable[[], Told]
) -> None:
    """Short epochs are checkpointed at their ends alone."""
    ended, again = draw(), draw()
    ended.ends = STEPS + 4
    with pytest.raises(KeyboardInterrupt):
        run(ended, tiny_store, tmp_path / "kept")
    run(again, tiny_store, tmp_path / "kept")
    assert again.step == 2 * STEPS


def test_truncated_checkpoint(
    tmp_path: Path, tiny_store: PatchStore, draw: Callable[[], Told]
) -> None:
    kept = tmp_path / "kept"
    run(draw(), tiny_store, kept)
    content = kept.read_bytes()
    objective = draw()
    for size in np.random.default_rng(0).integers(0, len(content), 20):
        kept.write_bytes(content[:size])
        with pytest.raises(UserError, match=r"checkpoint .*kept is damaged .*remove it"):
            run(objective, tiny_store, kept)
    assert objective.step == 0


def test_checkpoint_with_flipped_bit(
    tmp_path: Path, tiny_store: PatchStore, draw: Callable[[], Told]
) -> None:
    kept = tmp_path / "kept"
    run(draw(), tiny_store, kept)
    with zipfile.ZipFile(kept) as file:
        members = [m for m in file.infolist() if "/data/" in m.filename and m.file_size]
    content, objective = kept.read_bytes(), draw()
    for member in members[:: len(members) // 20]:
        flipped = bytearray(content)
        header = member.header_offset + 26  # lengths of name and extra field, then these, then data
        name, extra = struct.unpack("<HH", content[header : header + 4])
        flipped[header + 4 + name + extra] ^= 1
        kept.write_bytes(flipped)
        with pytest.raises(UserError, match="is damaged"):
            run(objective, tiny_store, kept)
