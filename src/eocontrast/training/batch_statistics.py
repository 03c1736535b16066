"""BatchNorm over the batch of all ranks, so that what is learnt does not depend on their number.

A rank's own statistics would also tell its places from those of other ranks, a short cut for any
contrast between them (He et al. 2020, section 3.3). torch's SyncBatchNorm runs on GPUs alone; this
is its arithmetic on any device, in place of `torch.nn.functional.batch_norm`, whoever calls that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from eocontrast.training.ranks import ranks, summed


def batch_of_all_ranks() -> AbstractContextManager[object]:
    """A context in which BatchNorm in training sees the batches of all ranks as one."""
    return _BatchOfAllRanks() if ranks() > 1 else nullcontext()


class _BatchOfAllRanks(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever `func` returns
        chosen = _batch_norm if func is F.batch_norm else func
        return chosen(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm`, with mean and variance over all ranks."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    mean, var, count = _moments(input)
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * (count / (count - 1)), momentum)
    scale = torch.ones_like(mean) if weight is None else weight
    normalised: Tensor = _Normalised.apply(input, scale, bias, mean, var, count, eps)
    return normalised


def _moments(x_BC: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and variance of every channel over all ranks, in float32, and of how many values."""
    dims, values = _all_but_channels(x_BC), x_BC.detach().float()
    count = ranks() * (x_BC.numel() // x_BC.shape[1])
    mean = summed(values.sum(dims)) / count
    centred = values - mean.view(_as_channels(x_BC))
    return mean, summed(centred.square().sum(dims)) / count, count


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - autograd's context
        x_BC: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: int,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x_BC, scale, mean, (var + eps).rsqrt())
        ctx.count, ctx.has_bias = count, bias is not None
        return F.batch_norm(x_BC, mean, var, scale, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad_BC: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x_BC, scale, mean, inverse_sd = ctx.saved_tensors
        dims, shape = _all_but_channels(x_BC), _as_channels(x_BC)
        z_BC = (x_BC.float() - mean.view(shape)) * inverse_sd.view(shape)
        grad = grad_BC.float()
        own = torch.stack([grad.sum(dims), (grad * z_BC).sum(dims)])
        # mean and variance hang on the values of all ranks, and so do their gradients on all losses
        by_mean, by_sd = (each.view(shape) for each in summed(own) / ctx.count)
        through = (scale * inverse_sd).view(shape) * (grad - by_mean - z_BC * by_sd)
        bias_grad = own[0] if ctx.has_bias else None
        return (through.to(x_BC.dtype), own[1], bias_grad, None, None, None, None)


def _all_but_channels(x_BC: Tensor) -> list[int]:
    return [dim for dim in range(x_BC.ndim) if dim != 1]


def _as_channels(x_BC: Tensor) -> list[int]:
    return [1, -1, *([1] * (x_BC.ndim - 2))]
