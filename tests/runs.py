"""A pretraining run of seconds of each method, with crops of 12 px; `model_copy` changes one."""

from __future__ import annotations

from typing import Any

from eocontrast.config.pretraining import DualSimCLRRun, MMARun, RandomRun, SimCLRRun

SHARED: dict[str, Any] = {
    "backbone": "resnet",
    "seeds": (0,),
    "epochs": 2,
    "warmup_epochs": 1,
    "batch_size": 8,
    "groups_per_batch": 0,
    "mask_same_group": False,
    "crop": 12,
    "flips": True,
    "lr": 1e-2,
    "weight_decay": 1e-4,
    "temperature": 0.2,
}
RANDOM = RandomRun(method="random", backbone="resnet")
SIMCLR = SimCLRRun(
    method="simclr",
    sensor="s2",
    bands=("B04", "B03", "B02"),
    min_scale=0.5,
    jitter=0.5,
    projection_dim=16,
    **SHARED,
)
DUAL_SIMCLR = DualSimCLRRun(method="dual_simclr", shared_crop=True, projection_dim=16, **SHARED)
MMA = MMARun(method="mma", shared_crop=True, max_offset=1, **SHARED)
