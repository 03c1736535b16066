"""Processes that train one model together (`torchrun`, SLURM): which one this is, what they share.

A batch is dealt like cards: of W processes, rank r has every W-th sample from the r-th on. So a
process that holds several views in a row holds those of the same places in each of them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def ranks() -> int:
    """How many processes train together; 1 where nobody else does."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0 on."""
    return dist.get_rank() if ranks() > 1 else 0


def gathered(own: Tensor) -> Tensor:
    """The rows of all ranks in the order of the batch, with gradients: (n, ...) to (W n, ...).

    The gradient of a row is the sum of those that all ranks have for it: what a mean over the
    ranks' losses needs once DistributedDataParallel has averaged the parameters' gradients.
    """
    gathered_rows: Tensor = own if ranks() == 1 else _Gather.apply(own)
    return gathered_rows


def summed(own: Tensor) -> Tensor:
    """The sum over all ranks, without gradients; `own` stays as it is."""
    total = own.detach().clone(memory_format=torch.contiguous_format)
    if ranks() > 1:
        dist.all_reduce(total)
    return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        parts = [own.new_empty(own.shape) for _ in range(ranks())]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        return summed(grad)[rank() :: ranks()]
