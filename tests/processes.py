"""Several processes that train together, on one machine and without a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from torch.multiprocessing.spawn import start_processes


def together(function: Callable[[], Any], count: int, folder: Path) -> list[Any]:
    """What `function` returns in each of `count` forked processes, tensors and plain values."""
    folder.mkdir(parents=True)
    # forked: importing torch anew would cost every process 4 s
    start_processes(_run, (function, count, folder), nprocs=count, start_method="fork")  # type: ignore[no-untyped-call]
    return [torch.load(folder / f"{rank}.pt") for rank in range(count)]


def _run(rank: int, function: Callable[[], Any], count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    store = f"file://{folder / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=count)
    try:
        torch.save(function(), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
