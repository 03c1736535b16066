"""Learning rate as a function of the step."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate: a linear rise, then half a cosine to zero.

    Args:
        step: number of the step, 0 to steps - 1.
        steps: number of steps of the whole run.
        warmup: number of steps until the peak.
    """
    if step < warmup:
        # not from 0: a first step at that rate would change nothing
        return (step + 1) / (warmup + 1)
    # SGDR without restarts (Loshchilov and Hutter 2017); a run may be no longer than its warm-up
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def cosine_schedule(optimizer: Optimizer, steps: int, warmup: int) -> LambdaLR:
    """Return `warmup_cosine` as a scheduler; call it once after every optimiser step."""
    return LambdaLR(optimizer, lambda step: warmup_cosine(step, steps, warmup))
