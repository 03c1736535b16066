"""Facts about the machine, without importing torch, which takes seconds."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import psutil

_PROCESSORS = Path("/proc/cpuinfo")
"""List of processors on Linux, where Python only knows the architecture."""


def processor() -> str:
    """Return the model of the processor and the number of cores this process may use."""
    text = _PROCESSORS.read_text() if _PROCESSORS.exists() else ""
    match = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    model = match[1].strip() if match else platform.processor() or platform.machine()
    return f"{model}, {_cores()} cores"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def torch_version() -> str:
    """Return the version of the installed torch."""
    return version("torch")


def process_start() -> float:
    """Return the start of this process in seconds since 1970, so that imports are timed too."""
    return float(psutil.Process().create_time())
