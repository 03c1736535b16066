"""Device, precision and determinism of a run."""

from __future__ import annotations

import os
from typing import Literal

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed

from eocontrast.runtime.machine import processor
from eocontrast.training.allocator import keep_freed_memory

Precision = Literal["auto", "bf16", "no"]


def accelerator(precision: Precision) -> Accelerator:
    """A GPU when there is one, and bfloat16 where the hardware multiplies it.

    Without such units (AVX512-BF16, AMX, Ampere) bfloat16 is emulated and slower than float32.
    From here on the process keeps the memory that it frees (`allocator.py`).
    """
    keep_freed_memory()
    chosen = precision if precision != "auto" else ("bf16" if _has_bf16() else "no")
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=chosen)


def device() -> torch.device:
    """Where work without autocast goes: a process has one `accelerator`, of one precision."""
    found: torch.device = PartialState(cpu=not torch.accelerator.is_available()).device
    return found


def first_process() -> bool:
    """Whether this process is the one that writes, of those that train together or alone.

    Joins the others where `torchrun` started some.
    """
    return bool(PartialState(cpu=not torch.accelerator.is_available()).is_main_process)


def deterministic(seed: int) -> None:
    """Seed every generator and refuse kernels whose sums depend on timing."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be exact
    torch.use_deterministic_algorithms(True)
    # nothing here reads memory that it did not write, and filling it costs time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    set_seed(seed)


def hardware() -> str:
    """What training runs on, in words."""
    if not torch.cuda.is_available():
        return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, no GPU"
    together = PartialState().num_processes
    cards = torch.cuda.get_device_name()
    return f"{f'{together} x ' if together > 1 else ''}{cards}; {processor()}"


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())
