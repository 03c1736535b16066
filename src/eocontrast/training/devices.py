"""Device, precision and determinism of a run."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Literal

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed

from eocontrast.runtime.machine import processor

Precision = Literal["auto", "bf16", "no"]


def accelerator(precision: Precision) -> Accelerator:
    """Return the device and precision of this process: a GPU if there is one.

    `auto` is bfloat16 where the hardware multiplies it (AVX512-BF16, AMX, Ampere); elsewhere it is
    emulated and slower than float32. The process keeps freed memory from here on.
    """
    keep_freed_memory()
    chosen = precision if precision != "auto" else ("bf16" if _has_bf16() else "no")
    return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=chosen)


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next step instead of returning it to the system.

    Otherwise the system clears thousands of pages for every step: 7 to 9 % of its time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free bytes at the end of the heap
        mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: bytes of an allocation outside the heap


def device() -> torch.device:
    """Return the device for work without autocast; a process has one precision."""
    state = PartialState(cpu=not torch.accelerator.is_available())
    return torch.device(state.device)


def first_process() -> bool:
    """Return True in the process that writes, after joining the others of a `torchrun`."""
    return bool(PartialState(cpu=not torch.accelerator.is_available()).is_main_process)


def deterministic(seed: int) -> None:
    """Seed every generator and refuse kernels whose sums depend on timing."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be exact
    torch.use_deterministic_algorithms(True)
    # nothing here reads memory that it did not write, and filling it costs time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    set_seed(seed)


def hardware() -> str:
    """Return the name of the GPUs or the processor that training runs on."""
    if not torch.cuda.is_available():
        return f"{processor()}, {torch.backends.cpu.get_cpu_capability()}, no GPU"
    together = PartialState().num_processes
    cards = torch.cuda.get_device_name()
    return f"{f'{together} x ' if together > 1 else ''}{cards}; {processor()}"


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())
