"""Ranks: the processes that train one model together (`torchrun`, SLURM).

A batch is dealt like cards: of W processes, rank r has every W-th sample from the r-th on. If a
batch holds several views in a row, each rank therefore holds the same places of every view.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

OWN_STATISTICS = (
    "BatchNorm sees the patches of its own process alone, as on all CPUs, so the weights depend on "
    "the number of processes. Use GPUs, a backbone without BatchNorm, or one process."
)
"""Printed by the first of several processes that train on CPUs."""


def ranks() -> int:
    """Return the number of processes that train together, 1 if this one trains alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def gathered(own: Tensor) -> Tensor:
    """Gather the rows of all ranks in the order of the batch, (n, ...) to (W n, ...).

    The gradient of a row is the sum over all ranks. DistributedDataParallel then averages the
    gradients of parameters, which gives those of the mean of the ranks' losses.
    """
    gathered_rows: Tensor = own if ranks() == 1 else _Gather.apply(own)
    return gathered_rows


def summed(own: Tensor) -> Tensor:
    """Return the sum over all ranks without gradients; `own` keeps its values."""
    # all_reduce works in place and needs memory without gaps
    total = own.detach().clone(memory_format=torch.contiguous_format)
    if ranks() > 1:
        dist.all_reduce(total)
    return total


def share_batch_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model with BatchNorm layers that see the samples of all ranks, on GPUs.

    Statistics of one rank's samples would also tell its places from those of other ranks, a short
    cut for any contrast between them (He et al. 2020, section 3.3).
    """
    if ranks() == 1 or not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return model
    if device.type == "cuda":
        # timm's conversion keeps the activation of its BatchNormAct2d; torch's drops it
        converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    if rank() == 0:
        print(OWN_STATISTICS, flush=True)
    return model


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        parts = [own.new_empty(own.shape) for _ in range(ranks())]
        dist.all_gather(parts, own.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)  # in turns, as the batch was dealt

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401 - autograd's context
        # the losses of all ranks depend on these rows, so their gradients add up
        return summed(grad)[rank() :: ranks()]
