"""Time and memory of the contrastive loss beside lightly's, over batch sizes.

    python benchmarks/contrast.py --batches 128 1024 4096 16384

Forward and backward of random embeddings in float32, each way in a process of its own, which also
says by how much its memory grew. The floor is the three matrix products that a loss over all pairs
takes, of which one has the logits and two the gradient. `--limit` is the GiB beyond which a batch
is not tried with lightly's loss, whose logits are (2N)^2.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from lightly.loss import NTXentLoss
from rounds import machine
from torch import Tensor

from eocontrast.pretraining.losses import LOGITS, nt_xent

TEMPERATURE = 0.1


def products(z1: Tensor, z2: Tensor) -> None:
    """Logits, and what the gradients of rows and of columns take, by chunks as the loss does."""
    z_MD = torch.cat([z1, z2]).detach()
    size = max(1, LOGITS // len(z_MD))
    for start in range(0, len(z_MD), size):
        rows = z_MD[start : start + size]
        logits = rows @ z_MD.T
        logits @ z_MD
        logits.T @ rows


def passes(loss_of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], None]:
    """Forward and backward of a loss."""
    return lambda z1, z2: torch.autograd.backward(loss_of(z1, z2))


WAYS: dict[str, Callable[[Tensor, Tensor], None]] = {
    "floor": products,
    "eocontrast": passes(lambda z1, z2: nt_xent(z1, z2, TEMPERATURE)),
    "lightly": passes(NTXentLoss(temperature=TEMPERATURE)),
}


def one_pass(name: str, batch: int, dim: int, rounds: int) -> tuple[list[float], float]:
    """Seconds of each forward and backward pass, and MiB by which memory grew."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    z1, z2 = (torch.randn(batch, dim, device=device).requires_grad_() for _ in range(2))
    before, seconds = peak(), []
    for _ in range(rounds):
        start = time.perf_counter()
        WAYS[name](z1, z2)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds, peak() - before


def peak() -> float:
    """MiB at most until now, of the GPU where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def apart(name: str, batch: int, dim: int, rounds: int) -> tuple[list[float], float]:
    """`one_pass` in a process of its own, whose memory nobody used before."""
    method = "spawn" if torch.cuda.is_available() else "fork"
    with multiprocessing.get_context(method).Pool(1) as pool:
        return pool.apply(one_pass, (name, batch, dim, rounds))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 1024, 4096, 16384])
    for name, default in (("dim", 128), ("rounds", 3), ("limit", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    print(machine())
    print(f"{'pairs':>7} {'':12}{'min s':>10}{'median':>10}{'max':>10}{'MiB':>10}")
    for batch in args.batches:
        for name in WAYS:
            # logits, their softmax and gradients: six copies at once
            if name == "lightly" and 6 * 4 * (2 * batch) ** 2 > args.limit * 2**30:
                print(f"{batch:7} {name:12}    more than {args.limit} GiB")
                continue
            seconds, memory = apart(name, batch, args.dim, args.rounds)
            numbers = (min(seconds), statistics.median(seconds), max(seconds))
            cells = "".join(f"{number:10.3g}" for number in numbers)
            print(f"{batch:7} {name:12}{cells}{memory:10.0f}", flush=True)


if __name__ == "__main__":
    main()
